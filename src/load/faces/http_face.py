"""What the HTTP doors have in common: a session, events that stream, and failures in words."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import orjson

from .face import RequestFailed

_UNARY_TIMEOUT = aiohttp.ClientTimeout(total=60)
_MAX_MESSAGE_CHARACTERS = 500
_DATA = b"data:"


class HttpSession:
    """Requests to one server."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self.base = base

    async def get(self, path: str) -> Any:
        """Returns the JSON of a path.

        Raises:
            RequestFailed: the server did not answer, or refused.
        """
        return await self._unary("GET", path, None)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Returns the JSON that answers `body`; raises as `get`."""
        return await self._unary("POST", path, body)

    async def events(
        self, path: str, body: dict[str, Any], timeout_s: float
    ) -> AsyncGenerator[list[bytes]]:
        """Yields the data of the events that answer `body`: those that arrived together.

        Raises:
            RequestFailed: the server did not answer, refused or went away.
        """
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.post(
                self.base + path, data=orjson.dumps(body), timeout=timeout
            ) as response:
                if response.status != 200:
                    raise _refusal(response.status, await response.read())
                rest = b""
                async for data in response.content.iter_any():
                    *lines, rest = (rest + data).split(b"\n")
                    # Comments and the fields `event` and `id` are nothing to us.
                    found = [line[len(_DATA) :].strip() for line in lines if line[:5] == _DATA]
                    if found:
                        yield found
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _lost(error, timeout_s) from error

    async def _unary(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        # Any: JSON of whatever server it is.
        data = None if body is None else orjson.dumps(body)
        try:
            async with self._session.request(
                method, self.base + path, data=data, timeout=_UNARY_TIMEOUT
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _lost(error, 60) from error
        if response.status != 200:
            raise _refusal(response.status, answer)
        return read_json(answer)


@asynccontextmanager
async def open_http(
    base: str, tls: ssl.SSLContext | None = None, api_key: str = ""
) -> AsyncGenerator[HttpSession]:
    """Opens a session for the time of the block; `base` is an address without a last slash."""
    headers = {"Content-Type": "application/json"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    # No limit: a request that waits for a connection here would look like a slow server.
    connector = aiohttp.TCPConnector(limit=0, ssl=tls or True)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield HttpSession(session, base)


def read_json(data: bytes) -> Any:
    """Reads what a server sent.

    Raises:
        RequestFailed: it is no JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise RequestFailed("no JSON", shorten(data.decode(errors="replace"))) from error


def shorten(text: str) -> str:
    """Returns the beginning of what a server said."""
    return text.strip()[:_MAX_MESSAGE_CHARACTERS]


def message_of(body: Any) -> tuple[str, str]:
    """Returns the code and the words of an error's body, of whichever dialect."""
    # Any: JSON of whatever server it is.
    if not isinstance(body, dict):
        return "", shorten(str(body))
    found = cast("dict[str, Any]", body)
    inner = found.get("error", found)
    if isinstance(inner, dict):
        fields = cast("dict[str, Any]", inner)
        code = fields.get("code") or fields.get("type") or ""
        return str(code), shorten(str(fields.get("message") or fields))
    return str(found.get("code", "")), shorten(str(found.get("message") or inner))


def _refusal(status: int, answer: bytes) -> RequestFailed:
    try:
        code, message = message_of(orjson.loads(answer))
    except orjson.JSONDecodeError:
        code, message = "", shorten(answer.decode(errors="replace"))
    # Some servers repeat the status as the code.
    kind = f"HTTP {status}" + (f" {code}" if code not in ("", str(status)) else "")
    return RequestFailed(kind, message or "without a word")


def _lost(error: Exception, timeout_s: float) -> RequestFailed:
    if isinstance(error, TimeoutError):
        return RequestFailed("timeout", f"not answered within {timeout_s:g} s")
    if isinstance(error, aiohttp.ClientConnectorError):
        return RequestFailed("no connection", str(error))
    return RequestFailed("connection lost", str(error) or type(error).__name__)
