"""What happens around every handler: ids, errors, CORS, drain, metrics and the access log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from .context import CONTEXT, REQUEST_ID_HEADER, RequestContext
from .cors import Cors
from .errors import DIALECT, Dialect, EdgeError, error_response, failure_of
from .metrics import HttpMetrics, route_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = structlog.stdlib.get_logger(__name__)

CANONICAL_PREFIX = "/tokenwire/"
_CLIENT_LEFT = 499
_MAX_SHOWN = 200
# Answered during a drain too: they say that it goes on.
_ALWAYS_OPEN = ("/health/", "/metrics")


class InFlight:
    """Counts the requests that a drain waits for, and refuses new ones once it has begun."""

    def __init__(self) -> None:
        self._num_requests = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self.is_draining = False

    def enter(self) -> None:
        """Counts a request in.

        Raises:
            EdgeError: the edge is draining.
        """
        if self.is_draining:
            raise EdgeError("DRAINING", "the server is draining")
        self._num_requests += 1
        self._is_idle.clear()

    def leave(self) -> None:
        """Counts a request out."""
        self._num_requests -= 1
        if not self._num_requests:
            self._is_idle.set()

    async def wait_idle(self) -> None:
        """Returns once no request is in flight; the caller bounds the wait."""
        await self._is_idle.wait()


class Middleware:
    """Wraps every handler of the application."""

    def __init__(self, cors: Cors, metrics: HttpMetrics, in_flight: InFlight) -> None:
        self._cors = cors
        self._metrics = metrics
        self._in_flight = in_flight

    def install(self, app: web.Application) -> None:
        """Adds the middlewares, outermost first, and the headers of every response."""
        app.middlewares.append(self._observe)
        app.middlewares.append(self._answer_errors)
        app.on_response_prepare.append(self._add_headers)

    @web.middleware
    async def _observe(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        context = RequestContext.from_headers(request.headers)
        request[CONTEXT] = context
        structlog.contextvars.bind_contextvars(request_id=context.request_id)
        status = _CLIENT_LEFT
        self._metrics.begin()
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            duration_s = time.monotonic() - context.arrived_s
            self._metrics.end(request, status, duration_s)
            # Probes and scrapes come every few seconds.
            log = _log.debug if request.path.startswith(_ALWAYS_OPEN) else _log.info
            log(
                "http_request",
                method=request.method,
                route=route_of(request),
                status=status,
                duration_s=round(duration_s, 6),
                peer=request.remote,
            )

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        is_canonical = request.path.startswith(CANONICAL_PREFIX)
        request[DIALECT] = Dialect.CANONICAL if is_canonical else Dialect.API
        preflight = self._cors.preflight(request)
        if preflight is not None:
            return preflight
        try:
            return await self._drainable(request, handler)
        except ConnectionError:
            raise  # the client left
        except web.HTTPException as error:
            own = _translated(request, error)
            if own is None:
                raise
            return error_response(failure_of(own), request[DIALECT])
        except Exception as error:  # noqa: BLE001 - the top of every request
            return error_response(failure_of(error), request[DIALECT])

    async def _drainable(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(_ALWAYS_OPEN):
            return await handler(request)
        self._in_flight.enter()
        try:
            return await handler(request)
        finally:
            self._in_flight.leave()

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers[REQUEST_ID_HEADER] = request[CONTEXT].request_id
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        self._cors.add_headers(request, response)


def _translated(request: web.Request, error: web.HTTPException) -> EdgeError | None:
    """Returns what aiohttp found wrong in our words; None for what it cannot find here."""
    path = request.path[:_MAX_SHOWN]
    if isinstance(error, web.HTTPNotFound):
        return EdgeError("NOT_FOUND", f"no route {path}")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        verb = "is" if len(error.allowed_methods) == 1 else "are"
        return EdgeError(
            "METHOD_NOT_ALLOWED",
            f"{request.method} is not allowed on {path}, {allowed} {verb}",
            headers={"Allow": allowed},
        )
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        limit = request.client_max_size
        return EdgeError(
            "BODY_TOO_LARGE",
            f"the body is over the limit of {limit} bytes",
            metadata={"limit": str(limit)},
        )
    return None
