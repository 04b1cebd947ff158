"""What happens around every request: ids, errors, CORS, drain, metrics and the access log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog
from aiohttp import web
from aiohttp.web_request import BaseRequest
from google.rpc import code_pb2

from ..tracing.http_span import end_http
from .client import FrontClient
from .context import CONTEXT, FAILURE, REQUEST_ID_HEADER, RequestContext
from .cors import Cors
from .dialect import DIALECT, Dialect, dialect_of, error_response
from .errors import EdgeError, failure_of
from .guard import PlaintextKeys
from .metrics.http_metrics import HttpMetrics, route_of
from .packing import Packer

if TYPE_CHECKING:
    from ..tracing.tracer import Span, Tracer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ServerHandler = Callable[[BaseRequest], Awaitable[web.StreamResponse]]

_logger = structlog.get_logger(__name__)

_CLIENT_LEFT = 499
_SERVER = "tokenwire"
_MAX_SHOWN = 200
# Answered during a drain too: they say that it goes on.
_ALWAYS_OPEN = ("/health/", "/metrics")
# Probes and scrapes come every few seconds, and the files of a page by the dozen.
_QUIET = (*_ALWAYS_OPEN, "/playground/", "/swagger-ui/")


class InFlight:
    """Counts the requests that a drain waits for. Once it has begun, new ones are refused."""

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
    """Wraps the application, so that what aiohttp refuses before any handler is answered too."""

    def __init__(
        self,
        dialects: Sequence[Dialect],
        cors: Cors,
        metrics: HttpMetrics,
        in_flight: InFlight,
        *,
        front: FrontClient,
        plaintext_keys: PlaintextKeys,
        tracer: Tracer | None = None,
    ) -> None:
        self._front = front
        self._dialects = dialects
        self._cors = cors
        self._metrics = metrics
        self._in_flight = in_flight
        self._tracer = tracer
        self._plaintext_keys = plaintext_keys
        self._packer = Packer()

    def install(self, app: web.Application) -> None:
        """Adds what runs around the handlers, and the headers of every response."""
        app.middlewares.append(self._admit)
        app.on_response_prepare.append(self._prepare)

    def wrap(self, application: ServerHandler) -> ServerHandler:
        """Returns the application with an id, metrics and a log line for every request.

        Every failure of it is answered in the dialect of the path.
        """

        async def serve(request: BaseRequest) -> web.StreamResponse:
            assert isinstance(request, web.Request)  # the server of an application makes no other
            context = self.identify(request)
            span = self._begin_span(request)
            structlog.contextvars.bind_contextvars(request_id=context.request_id)
            self._plaintext_keys.record(request)
            status = _CLIENT_LEFT
            self._metrics.begin()
            try:
                response = await self._front.answer(_answer(application, request))
                status = response.status
                await self._packer.pack(request, response)
                return response
            finally:
                self._end(request, status, time.monotonic() - context.arrived_s)
                if span is not None:
                    _end_span(span, request, status)

        return serve

    def identify(self, request: BaseRequest, path: str = "") -> RequestContext:
        """Gives a request its context and the dialect of its path, before any route is known.

        `path` is what is known of it where the request could not be read.
        """
        context = RequestContext.from_headers(request.headers)
        request[CONTEXT] = context
        request[DIALECT] = dialect_of(path or request.path, self._dialects)
        return context

    def add_headers(self, request: BaseRequest, response: web.StreamResponse) -> None:
        """Adds the headers that every response has. The request has its context."""
        response.headers[REQUEST_ID_HEADER] = request[CONTEXT].request_id
        response.headers["Server"] = _SERVER
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.update(request[DIALECT].headers(request[CONTEXT]))
        self._cors.add_headers(request, response)

    def _begin_span(self, request: web.Request) -> Span | None:
        """Begins the span of a request, under which the call to the front goes."""
        if self._tracer is None or request.path.startswith(_ALWAYS_OPEN):
            return None
        context = request[CONTEXT]
        span = self._tracer.begin_server(request.method, context.trace)
        request[CONTEXT] = replace(context, trace=span.context)
        return span

    def _end(self, request: web.Request, status: int, duration_s: float) -> None:
        self._metrics.end(request, status, duration_s)
        log = _logger.debug if request.path.startswith(_QUIET) else _logger.info
        context = request[CONTEXT]
        trace_id = context.trace.trace_id
        failure = request.get(FAILURE)
        known = {"trace_id": trace_id} if trace_id else {}
        if failure is not None and failure.reason:
            known["reason"] = failure.reason
        log(
            "http_request",
            request_id=context.request_id,
            peer=request.remote,
            method=request.method,
            route=route_of(request),
            status=status,
            duration_s=round(duration_s, 4),
            **known,
        )

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        preflight = self._cors.preflight(request)
        if preflight is not None:
            return preflight
        if request.path.startswith(_ALWAYS_OPEN):
            return await handler(request)
        self._in_flight.enter()
        try:
            return await handler(request)
        finally:
            self._in_flight.leave()

    async def _prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        self.add_headers(request, response)


def _end_span(span: Span, request: web.Request, status: int) -> None:
    failure = request.get(FAILURE)
    told: tuple[str, int] | None = None
    if failure is not None:
        # Without one gRPC itself ended the call, for the deadline above all, or nobody foresaw it.
        has_reason = failure.reason not in ("", "UNSPECIFIED")
        reason = failure.reason if has_reason else code_pb2.Code.Name(failure.status.code)
        told = reason, failure.traits.http_status
    route = route_of(request)
    end_http(
        span,
        method=request.method,
        route=route if route.startswith("/") else "",  # else none fits
        path=request.path[:_MAX_SHOWN],
        scheme=request.scheme,
        status=status,
        failure=told,
        peer=request.remote or "",
        request_id=request[CONTEXT].request_id,
    )


async def _answer(application: ServerHandler, request: web.Request) -> web.StreamResponse:
    try:
        return await application(request)
    except ConnectionError:
        raise  # the client left
    except web.HTTPException as error:
        failure = failure_of(_translated(request, error))
    except Exception as error:  # noqa: BLE001 - the top of every request
        failure = failure_of(error)
    request[FAILURE] = failure
    return error_response(failure, request[DIALECT])


def _translated(request: web.Request, error: web.HTTPException) -> Exception:
    """Returns what aiohttp found wrong in our words; the rest, which nobody raises, as it came."""
    path = request.path[:_MAX_SHOWN]
    if isinstance(error, web.HTTPNotFound):
        return EdgeError("NOT_FOUND", request[DIALECT].describe_missing(path))
    if isinstance(error, web.HTTPMethodNotAllowed):
        methods = sorted(error.allowed_methods)
        verb = "is" if len(methods) == 1 else "are"
        return EdgeError(
            "METHOD_NOT_ALLOWED",
            f"{request.method} is not allowed on {path}, {' and '.join(methods)} {verb}",
            headers={"Allow": ", ".join(methods)},
        )
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        limit = request.client_max_size
        return EdgeError(
            "BODY_TOO_LARGE",
            f"the body is over the limit of {limit} bytes",
            metadata={"limit": str(limit)},
            headers={"Connection": "close"},  # what is left of the body would pass for a request
        )
    if isinstance(error, web.HTTPExpectationFailed):
        given = request.headers.get("Expect", "")[:_MAX_SHOWN]
        message = f"Expect: only 100-continue is understood, got {given}"
        return EdgeError("EXPECTATION_FAILED", message)
    return error
