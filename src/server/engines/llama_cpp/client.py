"""HTTP with the llama.cpp child, over its private socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

import aiohttp
import orjson

from ...contract.token_ids import TokenIds

_CONNECT_TIMEOUT_S: Final = 5.0
# Answers other than streams. Long: between two requests the server may compute a whole batch.
_ANSWER_TIMEOUT_S: Final = 120.0
_MAX_LINE_BYTES: Final = 1 << 24
_MAX_ERROR_BYTES: Final = 2_000
_PART_LENGTH: Final = 16_384

Json = dict[str, Any]  # llama.cpp's answers; each reader takes what it needs out of them


class Refused(Exception):
    """The server answered with an error. The message is its JSON, for logs."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer[:_MAX_ERROR_BYTES].decode(errors="replace"))


class Unreachable(Exception):
    """The server does not answer, or stopped in the middle of an answer."""


class LlamaCppClient:
    """Calls the endpoints of one llama.cpp server."""

    def __init__(self, socket_path: str) -> None:
        self._session = aiohttp.ClientSession(
            "http://llama.cpp",
            # force_close: the server hangs up after each stream, and a reused connection loses
            # the next request.
            connector=aiohttp.UnixConnector(socket_path, limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S),
        )

    async def get(self, path: str) -> Any:
        """Gets a JSON answer.

        Raises:
            Refused: the answer is an error.
            Unreachable: there is no answer.
        """
        return await self._ask("GET", path, None, _ANSWER_TIMEOUT_S)

    async def get_text(self, path: str) -> str:
        """Gets an answer that is no JSON; raises as `get` does."""
        answer = await self._read("GET", path, None, _ANSWER_TIMEOUT_S)
        return answer.decode(errors="replace")

    async def post(
        self,
        path: str,
        body: Mapping[str, object],
        *,
        timeout_s: float | None = _ANSWER_TIMEOUT_S,
    ) -> Any:
        """Posts JSON and gets a JSON answer; raises as `get` does.

        `timeout_s` None leaves the bound to the caller.
        """
        return await self._ask("POST", path, orjson.dumps(body), timeout_s)

    async def open_stream(self, path: str, body: Mapping[str, object]) -> aiohttp.ClientResponse:
        """Posts JSON and returns at the head of the stream; the caller closes it.

        Unbounded: the head comes when the server has begun, however long that takes.
        """
        try:
            response = await self._session.post(path, data=orjson.dumps(body))
            if response.status != 200:
                async with response:
                    raise Refused(await response.read())
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(str(error)) from error
        return response

    async def close(self) -> None:
        """Hangs up on everything."""
        await self._session.close()

    async def _ask(
        self, method: str, path: str, data: bytes | None, timeout_s: float | None
    ) -> Any:
        return orjson.loads(await self._read(method, path, data, timeout_s))

    async def _read(
        self, method: str, path: str, data: bytes | None, timeout_s: float | None
    ) -> bytes:
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_TIMEOUT_S)
        try:
            async with self._session.request(method, path, data=data, timeout=timeout) as response:
                answer = await response.read()
                status = response.status
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise Unreachable(str(error)) from error
        if status != 200:
            raise Refused(answer)
        return answer


async def read_events(response: aiohttp.ClientResponse) -> AsyncGenerator[Json]:
    """Yields the JSON of each event until the stream ends.

    Raises:
        Unreachable: the stream broke off.
    """
    # Not by readline: the last event may hold more than its limit.
    rest = b""
    try:
        async for chunk in response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.startswith(b"data: "):
                    yield orjson.loads(line.removeprefix(b"data: "))
            if len(rest) > _MAX_LINE_BYTES:
                raise Unreachable(f"the server sent a line of over {_MAX_LINE_BYTES} bytes")
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(str(error)) from error


async def ids_to_json(ids: TokenIds) -> orjson.Fragment:
    """Spells out token ids for a request's body.

    By parts, between which a thread lets the loop run: to unpack a million takes 20 ms or more.
    """

    def spell() -> orjson.Fragment:
        parts = (
            orjson.dumps(ids[start : start + _PART_LENGTH].tolist())[1:-1]
            for start in range(0, len(ids), _PART_LENGTH)
        )
        return orjson.Fragment(b"[" + b",".join(parts) + b"]")

    return spell() if len(ids) <= _PART_LENGTH else await asyncio.to_thread(spell)
