"""JSON bodies: those of requests are objects, bounded in size and time."""

from __future__ import annotations

import asyncio
import codecs
import gzip
import io
import json
import zlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.web_request import BaseRequest

from .errors import EdgeError, invalid

T = TypeVar("T")

BODY_FIELD = "body"
_MAX_SHOWN = 100
_CURLS_OWN = "application/x-www-form-urlencoded"  # of every `curl -d` that says nothing else
_CURL_HINT = "; with curl, add -H 'Content-Type: application/json'"
# Short messages of this size keep the slowest codec busy for some 40 ms.
_LARGE_BYTES = 64 * 1024


def _one_thread() -> ThreadPoolExecutor:
    # Two would be no faster, and leave the event loop a third of the interpreter, not half.
    return ThreadPoolExecutor(1, "bodies")


@dataclass(frozen=True, slots=True)
class BodyReader:
    """Reads the JSON body of a request. The size is bounded by the application itself.

    `admit` is asked before anything is read, with whether that may be much; it raises.
    """

    timeout_s: float
    admit: Callable[[web.Request, bool], Awaitable[None]]
    _thread: ThreadPoolExecutor = field(default_factory=_one_thread)

    async def read(self, request: web.Request, decode: Callable[[dict[str, Any]], T]) -> T:
        """Returns what `decode` makes of the JSON object that the request carries.

        A large body is parsed and decoded in a thread, one at a time.

        Raises:
            AioRpcError: `admit` refuses the caller; nothing was read.
            EdgeError: not JSON by its header, in an encoding that cannot be read, too slow, not
                JSON, not an object, or whatever `decode` refuses.
            HTTPRequestEntityTooLarge: more bytes, as they came or unpacked, than the application
                takes.
        """
        announced = request.content_length
        is_large = announced is None or announced > _LARGE_BYTES
        await self.admit(request, is_large)
        _require_size(request)
        _require_json(request)
        encoding = _encoding_of(request)
        try:
            async with asyncio.timeout(self.timeout_s):
                data = await request.read()
        except TimeoutError:
            raise EdgeError(
                "CLIENT_TIMEOUT", f"the body did not arrive within {self.timeout_s:g} s"
            ) from None
        except web.RequestPayloadError:
            raise invalid(BODY_FIELD, "is broken off") from None
        if encoding is not None:
            # A thread of its own: it takes milliseconds for each MiB.
            data = await asyncio.to_thread(_unpack, data, encoding, request.client_max_size)
        if len(data) <= _LARGE_BYTES:
            return decode(parse_object(data))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: decode(parse_object(data)))

    def close(self) -> None:
        """Lets the thread end with what it does."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def parse_object(data: bytes) -> dict[str, Any]:
    """Parses a JSON object, also behind a byte order mark. Of duplicate keys the last one counts.

    Raises:
        EdgeError: empty, not UTF-8, not JSON (NaN included), nested too deep, or not an object.
    """
    data = data.removeprefix(codecs.BOM_UTF8)  # RFC 8259, section 8.1: it may be ignored
    try:
        value: object = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise invalid(BODY_FIELD, _describe(data, error)) from None
    if not isinstance(value, dict):
        raise invalid(BODY_FIELD, "must be a JSON object")
    return cast("dict[str, Any]", value)


def _describe(data: bytes, error: orjson.JSONDecodeError) -> str:
    if not data.strip():
        return "is empty"
    try:
        data.decode()
    except UnicodeDecodeError:
        return "is not UTF-8"
    # JSON begins with an ASCII character: a zero beside it is the other half of UTF-16 or UTF-32.
    return "is not UTF-8" if b"\0" in data[:2] else f"is not valid JSON: {error}"


def json_response(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Returns JSON as a whole response."""
    return web.Response(
        status=status, body=orjson.dumps(value), content_type="application/json", headers=headers
    )


def json_type(value: object) -> str:
    """Says in JSON's own words what a value is."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def shown(value: object) -> str:
    """Shows a value in a refusal: numbers and booleans as they are, of the rest their type."""
    return json.dumps(value) if isinstance(value, int | float) else json_type(value)


async def answer_expectation(request: web.Request) -> None:
    """Tells a client that asked to send its body, unless the body is over the limit.

    Raises:
        HTTPRequestEntityTooLarge: it announces more bytes than the application takes.
        HTTPExpectationFailed: it expects something else.
    """
    if request.version == HttpVersion11:
        if request.headers["Expect"].lower() != "100-continue":
            raise web.HTTPExpectationFailed
        _require_size(request)
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


def _require_size(request: web.Request) -> None:
    announced, limit = request.content_length or 0, request.client_max_size
    if announced > limit:
        raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=announced)


def _require_json(request: BaseRequest) -> None:
    if "Content-Type" not in request.headers:
        return
    given = request.content_type
    if given != "application/json" and not given.endswith("+json"):
        hint = _CURL_HINT if given == _CURLS_OWN else ""
        raise EdgeError(
            "UNSUPPORTED_MEDIA_TYPE",
            f"Content-Type must be application/json, got {given[:_MAX_SHOWN]}{hint}",
        )


def _encoding_of(request: BaseRequest) -> str | None:
    """Returns how the body is packed, None where it is not.

    Raises:
        EdgeError: in a way that cannot be read.
    """
    transfer = ", ".join(request.headers.getall("Transfer-Encoding", []))
    if transfer and transfer.lower() != "chunked":
        raise EdgeError(
            "UNSUPPORTED_MEDIA_TYPE",
            f"Transfer-Encoding must be chunked, got {transfer[:_MAX_SHOWN]}",
        )
    given = ", ".join(request.headers.getall("Content-Encoding", []))
    encoding = given.lower()
    # Some clients name their charset here.
    if encoding in ("", "identity", "utf-8"):
        return None
    if encoding not in _UNPACKERS:
        raise EdgeError(
            "UNSUPPORTED_MEDIA_TYPE",
            f"Content-Encoding must be gzip or deflate, got {given[:_MAX_SHOWN]}",
            headers={"Accept-Encoding": "gzip, deflate"},
        )
    return encoding


def _unpack(data: bytes, encoding: str, max_bytes: int) -> bytes:
    """Unpacks a body, and never more of it than `max_bytes` and one.

    Raises:
        EdgeError: the body is not packed like that, or breaks off.
        HTTPRequestEntityTooLarge: it unpacks to more than `max_bytes`.
    """
    try:
        unpacked = _UNPACKERS[encoding](data, max_bytes + 1)
    except (OSError, EOFError, zlib.error):
        raise invalid(BODY_FIELD, f"is not valid {encoding}") from None
    if len(unpacked) > max_bytes:
        raise web.HTTPRequestEntityTooLarge(max_size=max_bytes, actual_size=len(unpacked))
    return unpacked


def _gunzip(data: bytes, max_bytes: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return file.read(max_bytes)


def _inflate(data: bytes, max_bytes: int) -> bytes:
    # RFC 1950 puts a header first, whose first byte ends in 8; some clients leave it out.
    has_header = data[:1] != b"" and data[0] & 0x0F == zlib.DEFLATED
    inflater = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
    unpacked = inflater.decompress(data, max_bytes)
    if len(unpacked) < max_bytes and (not inflater.eof or inflater.unused_data):
        raise EOFError
    return unpacked


# Those that aiohttp reads without further packages. It unpacks before any handler runs, where a
# failure ends the connection without a word about the encoding, and takes a body that breaks off.
_UNPACKERS: Mapping[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
}
