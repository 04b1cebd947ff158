"""HTTP connections: a request that is broken as HTTP is answered in JSON too."""

from __future__ import annotations

import uuid

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from .context import REQUEST_ID_HEADER
from .errors import Dialect, EdgeError, error_response, failure_of, invalid

_log = structlog.stdlib.get_logger(__name__)

_TOO_MANY_HEADERS = "Too many headers"


class Connection(RequestHandler):
    """One connection of the HTTP server."""

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what never reached a handler, and closes the connection."""
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun")
        request_id = uuid.uuid4().hex
        if status == 400:
            # The exception's text holds what arrived: only its type is logged.
            kind = type(exc).__name__
            _log.info("broken_http", request_id=request_id, peer=request.remote, kind=kind)
            failure = failure_of(self._broken(exc))
        else:
            failure = failure_of(exc or RuntimeError(message or "unknown"))
        response = error_response(failure, Dialect.API)
        response.headers[REQUEST_ID_HEADER] = request_id
        response.force_close()
        return response

    def _broken(self, exc: BaseException | None) -> EdgeError:
        if isinstance(exc, LineTooLong):
            limit = self.max_field_size
            return EdgeError(
                "HEADERS_TOO_LARGE",
                f"a header is over the limit of {limit} bytes",
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
