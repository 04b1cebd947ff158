"""HTTP connections: a request that is broken as HTTP is answered in JSON too."""

from __future__ import annotations

import asyncio

import structlog
from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_server import Server

from .context import CONTEXT
from .dialect import DIALECT, error_response
from .errors import EdgeError, failure_of, invalid
from .middleware import Middleware

_logger = structlog.get_logger(__name__)

# No type of its own says it.
_TOO_MANY_HEADERS = "Too many headers"
_LINGERING_TIME_S = 0.5


class Connection(RequestHandler):
    """One connection of the HTTP server.

    `middleware` adds what every response has to those that no application sees.
    """

    # aiohttp's class has slots, which a subclass may extend.
    __slots__ = ("_middleware",)

    def __init__(
        self,
        server: Server,
        middleware: Middleware,
        *,
        loop: asyncio.AbstractEventLoop,
        keepalive_timeout_s: float,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=keepalive_timeout_s,
            lingering_time=_LINGERING_TIME_S,
            access_log=None,  # type: ignore[arg-type]  # None turns it off
            auto_decompress=False,  # bodies are unpacked where their failures can be told
        )
        self._middleware = middleware

    def data_received(self, data: bytes) -> None:
        """Takes what arrived; a body that is broken as HTTP fails its request at once."""
        super().data_received(data)
        request = self._current_request
        is_broken = self._messages and not isinstance(self._messages[-1][0], RawRequestMessage)
        if is_broken and request is not None and not request.content.is_eof():
            # aiohttp queues its refusal behind the very request that waits for the body.
            request.content.set_exception(web.RequestPayloadError("broken off"))
            self._lingering_time = 0.0  # nothing more can be read of it

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
            self._middleware.identify(request)
        if status == 400:
            # The exception's text holds what arrived: only its type is logged.
            kind = type(exc).__name__
            request_id = request[CONTEXT].request_id
            _logger.info("broken_http", request_id=request_id, peer=request.remote, kind=kind)
            failure = failure_of(self._broken(exc))
        else:
            failure = failure_of(exc or RuntimeError(message or "unknown"))
        response = error_response(failure, request[DIALECT])
        if not is_seen:
            self._middleware.add_headers(request, response)
        response.force_close()
        return response

    def _broken(self, exc: BaseException | None) -> EdgeError:
        if isinstance(exc, LineTooLong):
            limit = self.max_field_size
            return EdgeError(
                "HEADERS_TOO_LARGE",
                f"the request line or a header is over the limit of {limit} bytes",
                metadata={"limit": str(limit)},
            )
        if isinstance(exc, BadHttpMessage) and exc.message.startswith(_TOO_MANY_HEADERS):
            limit = self.max_headers
            return EdgeError(
                "HEADERS_TOO_LARGE",
                f"there are more headers than the limit of {limit}",
                metadata={"limit": str(limit)},
            )
        return invalid("request", "is not valid HTTP")
