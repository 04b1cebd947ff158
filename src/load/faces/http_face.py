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
    """Requests to one server.

    Connections are kept. A server that hangs up behind each answer without saying so (llama.cpp's
    does, behind a stream) loses the next request on them: that one is sent again, and from then on
    every request has a connection of its own.
    """

    def __init__(
        self, kept: aiohttp.ClientSession, fresh: aiohttp.ClientSession, base: str
    ) -> None:
        self._kept = kept
        self._fresh = fresh
        self._hangs_up = False
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

        Read to its end, or the connection serves no other request and the server sees a client
        that leaves.

        Raises:
            RequestFailed: the server did not answer, refused or went away.
        """
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with await self._request("POST", path, orjson.dumps(body), timeout) as response:
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
            async with await self._request(method, path, data, _UNARY_TIMEOUT) as response:
                answer = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _lost(error, 60) from error
        if response.status != 200:
            raise _refusal(response.status, answer)
        return read_json(answer)

    async def _request(
        self, method: str, path: str, data: bytes | None, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        url = self.base + path
        if not self._hangs_up:
            try:
                return await self._kept.request(method, url, data=data, timeout=timeout)
            except (aiohttp.ClientConnectorError, TimeoutError):
                raise  # there was no connection to be lost, or it was there
            except aiohttp.ClientConnectionError:
                self._hangs_up = True
        return await self._fresh.request(method, url, data=data, timeout=timeout)


@asynccontextmanager
async def open_http(
    base: str, tls: ssl.SSLContext | None = None, api_key: str = ""
) -> AsyncGenerator[HttpSession]:
    """Opens a session for the time of the block; `base` is an address without a last slash."""
    headers = {"Content-Type": "application/json"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"

    def session(*, force_close: bool) -> aiohttp.ClientSession:
        # No limit: a request that waits for a connection here would look like a slow server.
        connector = aiohttp.TCPConnector(limit=0, ssl=tls or True, force_close=force_close)
        return aiohttp.ClientSession(connector=connector, headers=headers)

    async with session(force_close=False) as kept, session(force_close=True) as fresh:
        yield HttpSession(kept, fresh, base)


def read_json(data: bytes) -> Any:
    """Reads what a server sent.

    Raises:
        RequestFailed: it is no JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise RequestFailed("no JSON", shorten(data.decode(errors="replace"))) from error


def read_event(data: bytes) -> dict[str, Any]:
    """Reads the data of an event.

    Raises:
        RequestFailed: it is no JSON object, or tells that the request failed.
    """
    event = read_json(data)
    if not isinstance(event, dict):
        raise RequestFailed("no JSON object", shorten(data.decode(errors="replace")))
    fields = cast("dict[str, Any]", event)
    if fields.get("error") is not None:
        code, message = message_of(fields)
        raise RequestFailed(f"in stream {code}".strip(), message)
    return fields


def first_id(models: Any) -> str:
    """Returns the id of the first of a list of models.

    Raises:
        RequestFailed: it is no such list, or empty.
    """
    # Any: JSON of whatever server it is.
    try:
        return str(models[0]["id"])
    except (LookupError, TypeError) as error:
        raise RequestFailed("no model", "the server lists no model: name one") from error


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
