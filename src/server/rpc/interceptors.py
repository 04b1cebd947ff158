"""What happens around every call: its id, its errors, its counters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf.message import DecodeError

from ...tracing.rpc_spans import end_served
from ..access.access import Access
from ..contract.errors import AccessRefused, InferenceError, InvalidRequest
from ..request.calls import INTERNAL
from ..request.running_request import RequestBroke
from ..telemetry.metrics.grpc_metrics import CallLabels, GrpcMetrics, MessageCounts, labels_of
from ..telemetry.refusal_line import log_refusal
from .intake import Intake
from .known_context import KnownContext, has_deadline_passed, read_call_context
from .load_reports import LoadReports, Trailer
from .statuses import CallStatus, abort, code_of, internal_status, status_of

_logger = structlog.get_logger(__name__)

if TYPE_CHECKING:
    from ...tracing.tracer import Span, Tracer

    # Generic for type checkers only.
    _Handler = grpc.RpcMethodHandler[Any, Any]
_Context = grpc.aio.ServicerContext[Any, Any]
_UNTRACED = ("/grpc.health.", "/tokenwire.v1.AccessService/")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Names every call, counts it, and turns its exceptions into statuses: the one place for it."""

    def __init__(
        self,
        metrics: GrpcMetrics,
        access: Access,
        tracer: Tracer | None = None,
        reports: LoadReports | None = None,
    ) -> None:
        self._watchers = _Watchers(metrics, tracer, reports)
        self._access = access
        self._intake = Intake()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # an unknown method
        method = handler_call_details.method
        labels = labels_of(method, handler.request_streaming, handler.response_streaming)
        watchers = self._watchers.of(method)
        try:  # before its message is read: strangers send none
            key = self._access.enter(method, handler_call_details.invocation_metadata or ())
        except AccessRefused as error:
            return _refusing(labels, watchers, error.with_traceback(None))
        # gRPC reads the message after this. That of a probe is small, and must never wait, and
        # several messages come one by one.
        is_bounded = not (handler.request_streaming or method.startswith("/grpc.health."))
        received = await self._intake.admit() if is_bounded else None
        wrapped = _CallHandler(handler, labels, watchers, received, key)
        make: Any = grpc.unary_unary_rpc_method_handler
        serve: Any = wrapped.serve_unary
        if handler.request_streaming:
            make, serve = grpc.stream_stream_rpc_method_handler, wrapped.serve_streams
        elif handler.response_streaming:
            make, serve = grpc.unary_stream_rpc_method_handler, wrapped.serve_stream
        made: _Handler = make(
            serve,
            request_deserializer=wrapped.deserialize,
            response_serializer=handler.response_serializer,
        )
        return made


@dataclass(frozen=True, slots=True)
class _Watchers:
    """What calls are counted, traced and reported with; the last two where they are on."""

    metrics: GrpcMetrics
    tracer: Tracer | None
    reports: LoadReports | None

    def of(self, method: str) -> _Watchers:
        """Those of the calls of a method."""
        # Probes and scrapes come every few seconds. Calls to others than ours cause no load.
        tracer = None if method.startswith(_UNTRACED) else self.tracer
        reports = self.reports if method.startswith("/tokenwire.") else None
        return _Watchers(self.metrics, tracer, reports)


class _Undecodable:
    """Stands in for a request whose bytes are not a message of its type."""


class _CallHandler:
    def __init__(
        self,
        handler: _Handler,
        labels: CallLabels,
        watchers: _Watchers,
        received: Callable[[int], None] | None,
        key: str,
    ) -> None:
        # Any: typed for synchronous servers, where a handler returns an iterator.
        self._serve: Any = handler.unary_stream or handler.unary_unary or handler.stream_stream
        self._deserialize: Any = handler.request_deserializer
        self._messages = MessageCounts()
        self._labels = labels
        self._watchers = watchers
        self._received = received
        self._key = key

    def deserialize(self, data: bytes) -> Any:
        self._messages.num_received += 1
        if self._received is not None:
            self._received(len(data))
        # An exception in here would reach the caller as UNKNOWN with the name of a Python class.
        try:
            return self._deserialize(data)
        except DecodeError:
            return _Undecodable()

    async def serve_unary(self, request: Any, context: _Context) -> Any:
        with self._watch(context) as watched:
            return await self._serve(_decoded(request), watched.context)
        return await abort(context, watched.status)

    async def serve_stream(self, request: Any, context: _Context) -> None:
        with self._watch(context) as watched:
            outcome = self._serve(_decoded(request), watched.context)
            await _written(outcome, watched.context)
            return
        await abort(context, watched.status)

    async def serve_streams(self, requests: Any, context: _Context) -> None:
        decoded = (_decoded(request) async for request in requests)
        with self._watch(context) as watched:
            outcome = self._serve(decoded, watched.context)
            await _written(outcome, watched.context)
            return
        await abort(context, watched.status)

    def _watch(self, context: _Context) -> _Watched:
        return _Watched(context, self._labels, self._watchers, self._messages, self._key)


def _refusing(labels: CallLabels, watchers: _Watchers, refusal: AccessRefused) -> _Handler:
    async def refuse(_requests: Any, context: _Context) -> None:
        with _Watched(context, labels, watchers, MessageCounts()) as watched:
            raise refusal
        await abort(context, watched.status)

    return grpc.stream_stream_rpc_method_handler(refuse)


class _Watched:
    """Counts and traces a call, and turns what its body raises into the status that it ends with.

        with _Watched(context, labels, watchers, messages) as watched:
            return await serve(request, watched.context)
        await abort(context, watched.status)

    The status is sent behind the handling of the error: gRPC keeps what is raised there with the
    call, and an error in its context would keep every frame of the call, the whole request in them,
    until the garbage collector comes by.
    """

    def __init__(
        self,
        context: _Context,
        labels: CallLabels,
        watchers: _Watchers,
        messages: MessageCounts,
        key: str = "",
    ) -> None:
        self._start_s = time.monotonic()
        self._call = read_call_context(context, self._start_s, key)
        self._method = "/".join(labels[1:])
        self._span: Span | None = None
        if watchers.tracer is not None:
            self._span = watchers.tracer.begin_server(self._method, self._call.trace)
            self._call = replace(self._call, trace=self._span.context)
        self._labels = labels
        self._messages = messages
        self._metrics = watchers.metrics
        self._reports = watchers.reports
        self._grpc = context
        self._status: CallStatus | None = None
        self.context = KnownContext(context, self._call, messages)

    @property
    def status(self) -> CallStatus:
        """What a call that failed ends with."""
        assert self._status is not None, "a call returns, raises, or has a status to end with"
        return self._status

    def __enter__(self) -> _Watched:
        """Begins the call."""
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=self._call.request_id)
        self._metrics.started(self._labels)
        if self._reports is not None:
            self._reports.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Ends the call; an error with a status of its own goes no further."""
        code = self._code_of(error)
        if self._labels[0] == "unary" and code is grpc.StatusCode.OK:
            self._messages.num_sent += 1  # it is written behind this
        seconds = time.monotonic() - self._start_s
        self._metrics.handled(self._labels, code, seconds, self._messages, self._call.trace)
        if self._reports is not None:
            self._add_trailer(self._reports.end(code))
        if self._span is not None:
            peer, request_id = self._call.caller, self._call.request_id
            reason = self._reason_of(error)
            end_served(
                self._span, self._method, code, peer=peer, request_id=request_id, reason=reason
            )
        if isinstance(error, grpc.aio.InternalError):
            raise asyncio.CancelledError from None  # else gRPC sends a status to nobody
        return self._status is not None

    def _add_trailer(self, trailer: Trailer) -> None:
        if self._status is None:
            self._grpc.set_trailing_metadata((trailer,))
        else:
            trailers = (*self._status.trailing_metadata, trailer)
            self._status = replace(self._status, trailing_metadata=trailers)

    def _reason_of(self, error: BaseException | None) -> str:
        if self._status is None:
            return ""
        return error.reason if isinstance(error, InferenceError) else INTERNAL

    def _code_of(self, error: BaseException | None) -> grpc.StatusCode:
        call_id = self._call.request_id
        match error:
            case None:
                return grpc.StatusCode.OK
            # A write fails, or gRPC closes a handler that writes: the caller has left it.
            case asyncio.CancelledError() | GeneratorExit() | grpc.aio.InternalError():
                is_late = has_deadline_passed(self._call, self._start_s)
                code = grpc.StatusCode
                return code.DEADLINE_EXCEEDED if is_late else code.CANCELLED
            case grpc.aio.AbortError():
                return code_of(self._grpc)
            case AccessRefused():
                log_refusal(error, self._labels[2], self._call.caller)
                self._status = status_of(error, call_id)
            case InferenceError():
                self._status = status_of(error, call_id)
            case RequestBroke():  # in the log already
                self._status = internal_status(call_id)
            case Exception():
                _logger.error("call_failed", method=self._method, exc_info=error)
                self._status = internal_status(call_id)
            case _:  # the process ends
                return grpc.StatusCode.UNKNOWN
        return self._status.code


def _written(outcome: Any, context: KnownContext) -> Awaitable[None]:
    # One that writes by itself has no coroutine of ours between it and gRPC, for each message.
    return _write_all(outcome, context) if hasattr(outcome, "__aiter__") else outcome


async def _write_all(messages: AsyncGenerator[Any], context: KnownContext) -> None:
    async with aclosing(messages):
        async for message in messages:
            await context.write(message)


def _decoded(request: Any) -> Any:
    if isinstance(request, _Undecodable):
        raise InvalidRequest("request", "is not a message of the method's type")
    return request
