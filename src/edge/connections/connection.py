"""One HTTP connection: bounded in time and size, and answered in JSON where it holds no request."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from typing import cast

import structlog
from aiohttp import web
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD

# Its own way to have a failure answered behind the requests that came before.
from aiohttp.web_protocol import RequestHandler, _ErrInfo  # pyright: ignore[reportPrivateUsage]
from aiohttp.web_request import BaseRequest
from aiohttp.web_server import Server

from ..context import CONTEXT
from ..dialect import DIALECT, error_response
from ..errors import EdgeError, failure_of, invalid
from ..middleware import Middleware
from .broken_http import describe_broken, head_too_large
from .limits import Limits, OpenConnections
from .sockets import bound_unsent, reset

_logger = structlog.get_logger(__name__)

_LINGERING_TIME_S = 0.5
# Of the longest header; 128 of them would be 1 MiB for everyone who connects.
_MAX_HEADS = 8
_MAX_HEADERS = 128
_TARGET = re.compile(rb"[A-Z]+ (/[^ ?]*)")
_ANY_TARGET = "/"


class Connection(RequestHandler):
    """One connection of the HTTP server.

    `middleware` adds what every response has to those that no application sees. A client that
    closes its end, or half of it, has left: what is done for it is cancelled.
    """

    # aiohttp's class has slots, which a subclass may extend.
    __slots__ = (
        "_head_timer",
        "_is_refused",
        "_limits",
        "_middleware",
        "_num_head_bytes",
        "_open",
        "_peer",
        "_target",
        "_tcp",
        "_unread_timer",
    )

    def __init__(
        self,
        server: Server,
        middleware: Middleware,
        limits: Limits,
        open_connections: OpenConnections,
        *,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=limits.idle_timeout_s,
            lingering_time=_LINGERING_TIME_S,
            max_line_size=limits.max_header_bytes,
            max_field_size=limits.max_header_bytes,
            max_headers=_MAX_HEADERS,
            access_log=None,  # type: ignore[arg-type]  # None turns it off
            auto_decompress=False,  # bodies are unpacked where their failures can be told
        )
        self._middleware = middleware
        self._limits = limits
        self._open = open_connections
        self._peer: str | None = None  # None: it has no place
        self._tcp: asyncio.Transport | None = None
        self._is_refused = False
        self._num_head_bytes = 0
        self._target = _ANY_TARGET
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes a place, or answers that there is none."""
        super().connection_made(transport)
        self._tcp = cast("asyncio.Transport", transport)
        bound_unsent(self._tcp, self._limits.write_timeout_s)
        address: tuple[str, int] | str | None = transport.get_extra_info("peername")
        peer = address[0] if isinstance(address, tuple) else ""
        try:
            self._open.enter(peer)
        except EdgeError as refusal:
            self._refuse(503, refusal)
            return
        self._peer = peer
        self._open.rest(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Gives the place back, and cancels what is done for the client."""
        if self._peer is not None:
            self._open.leave(self, self._peer)
            self._peer = None
        self._tcp = None
        self._end_head()
        self._end_unread()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what arrived; a body that is broken as HTTP fails its request at once."""
        if self._is_refused:
            return
        if not self._num_head_bytes:
            found = _TARGET.match(data) if self._waits_for_head else None
            self._target = found[1].decode("ascii", "replace") if found else _ANY_TARGET
        super().data_received(data)
        request = self._current_request
        is_broken = self._messages and not isinstance(self._messages[-1][0], RawRequestMessage)
        if is_broken:
            self._is_refused = True  # the parser would find the same again in all that follows
            if request is not None and not request.content.is_eof():
                # aiohttp queues its refusal behind the very request that waits for the body.
                request.content.set_exception(web.RequestPayloadError("broken off"))
                self._lingering_time = 0.0  # nothing more can be read of it
        if self._waits_for_head and not self._close:
            self._go_on_with_head(len(data))
        elif self._messages:
            self._end_head()
            self._open.work(self)

    @property
    def _waits_for_head(self) -> bool:
        # Neither serving nor reading what is left of a body: all that arrives belongs to a head.
        return self._waiter is not None and not self._waiter.done()

    def pause_writing(self) -> None:
        """Bounds the time until the client reads on; half of what waits is little enough."""
        super().pause_writing()
        self._bound_unread()

    def resume_writing(self) -> None:
        """Ends that bound."""
        super().resume_writing()
        self._end_unread()

    async def start(self) -> None:
        """Serves one request after the other; what is unread at the end is bounded, too."""
        try:
            await super().start()
        finally:
            if self._tcp is not None:
                self._bound_unread()

    def make_room(self) -> None:
        """Closes the connection, which has no request, for the sake of a new one."""
        self.force_close()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what the application never saw or could not answer; closes the connection."""
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionError("the client left, or the response has begun") from exc
        is_seen = CONTEXT in request
        if not is_seen:
            # The status line repeats the request's, which may be 2.0, or 1.0 where it is not known.
            request._version = HttpVersion11  # pyright: ignore[reportPrivateUsage]
            self._middleware.identify(request, self._target)
        if status == 400:
            # The exception's text holds what arrived: only its type is logged.
            kind = type(exc).__name__
            request_id = request[CONTEXT].request_id
            _logger.info("broken_http", request_id=request_id, peer=request.remote, kind=kind)
            exc = describe_broken(
                exc, max_header_bytes=self.max_field_size, max_headers=self.max_headers
            )
        failure = failure_of(exc or RuntimeError(message or "unknown"))
        response = error_response(failure, request[DIALECT])
        if not is_seen:
            self._middleware.add_headers(request, response)
        response.force_close()
        return response

    async def _handle_request(
        self,
        request: BaseRequest,
        start_time: float | None,
        request_handler: Callable[[BaseRequest], Awaitable[web.StreamResponse]],
    ) -> tuple[web.StreamResponse, bool]:
        # Not `version`, which is read once and kept, and is about to change. llhttp lets 0.9 and
        # 2.0 pass.
        version = request._version  # pyright: ignore[reportPrivateUsage]
        if version not in (HttpVersion11, HttpVersion10):
            request_handler = self._wrong_version
        elif _num_head_bytes(request) > self._max_head_bytes:
            request_handler = self._large_head
        try:
            answered = await super()._handle_request(request, start_time, request_handler)
            if self._is_refused and not self._messages:
                await self._linger()
            return answered
        finally:
            if self._peer is not None:
                self._open.rest(self)

    async def _wrong_version(self, request: BaseRequest) -> web.StreamResponse:
        return self.handle_error(request, 505, invalid("version", "must be HTTP/1.1 or HTTP/1.0"))

    async def _large_head(self, request: BaseRequest) -> web.StreamResponse:
        return self.handle_error(request, 431, self._head_too_large())

    @property
    def _max_head_bytes(self) -> int:
        return _MAX_HEADS * self._limits.max_header_bytes

    def _head_too_large(self) -> EdgeError:
        limit = self._max_head_bytes
        return head_too_large(f"the headers together are over the limit of {limit} bytes", limit)

    async def _linger(self) -> None:
        """Reads on for a moment behind the last answer.

        A socket that is closed with bytes unread is reset, and the answer is lost with it.
        """
        if self._tcp is not None:
            if self._tcp.can_write_eof():
                with contextlib.suppress(OSError):  # the client has reset it meanwhile
                    self._tcp.write_eof()
            await asyncio.sleep(_LINGERING_TIME_S)  # ended before that by the client's own end

    def _go_on_with_head(self, num_bytes: int) -> None:
        self._num_head_bytes += num_bytes
        if self._num_head_bytes > self._max_head_bytes:
            self._refuse(431, self._head_too_large())
        elif self._head_timer is None:
            timeout_s = self._limits.head_timeout_s
            self._head_timer = self._loop.call_later(timeout_s, self._refuse_slow_head)
            # aiohttp's own clock of idle connections would hang up in the midst of it.
            later_s = self._loop.time() + timeout_s + _LINGERING_TIME_S
            self._next_keepalive_close_time = max(self._next_keepalive_close_time, later_s)

    def _refuse_slow_head(self) -> None:
        self._head_timer = None
        if self._waits_for_head:
            self._open.num_cut["slow_headers"] += 1
            limit_s = self._limits.head_timeout_s
            message = f"the headers did not arrive within {limit_s:g} s"
            self._refuse(408, EdgeError("CLIENT_TIMEOUT", message))

    def _refuse(self, status: int, error: EdgeError) -> None:
        self._is_refused = True
        self._end_head()
        self._messages.append((_ErrInfo(status, error, error.message), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _bound_unread(self) -> None:
        if self._unread_timer is None:
            self._unread_timer = self._loop.call_later(
                self._limits.write_timeout_s, self._cut_unread
            )

    def _cut_unread(self) -> None:
        self._unread_timer = None
        if self._tcp is not None:
            self._open.num_cut["slow_reader"] += 1
            reset(self._tcp)  # a plain close would wait for this client to read

    def _end_head(self) -> None:
        self._num_head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_unread(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None


def _num_head_bytes(request: BaseRequest) -> int:
    """Counts the bytes of a head that came at once, as if each header had one blank in it."""
    line = len(request.method) + len(request.raw_path) + len("  HTTP/1.1\r\n")
    return line + sum(len(name) + len(value) + 4 for name, value in request.raw_headers) + 2
