"""What happens around every call: its id, its errors, its counters."""

from __future__ import annotations

import asyncio
import inspect
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf.message import DecodeError

from ..contract.errors import InferenceError, InvalidRequest
from ..settings.limits import MAX_REQUEST_ID_CHARACTERS
from ..telemetry.grpc_metrics import GrpcMetrics
from .statuses import CallStatus, internal_status, status_of

_logger = structlog.get_logger(__name__)

# Id of the call that the current task serves.
request_id: ContextVar[str] = ContextVar("request_id")

if TYPE_CHECKING:  # generic for type checkers only
    _Handler = grpc.RpcMethodHandler[Any, Any]
_Context = grpc.aio.ServicerContext[Any, Any]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Names every call, counts it, and turns its exceptions into statuses: the one place for it."""

    def __init__(self, metrics: GrpcMetrics) -> None:
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            return handler  # unknown method, or reflection: not ours
        wrapped = _CallHandler(handler, handler_call_details.method, self._metrics)
        make: Any = (
            grpc.unary_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        made: _Handler = make(
            wrapped.serve_stream if handler.response_streaming else wrapped.serve_unary,
            request_deserializer=wrapped.deserialize,
            response_serializer=handler.response_serializer,
        )
        return made


class _Undecodable:
    """Stands in for a request whose bytes are not a message of its type."""


class _CallHandler:
    def __init__(self, handler: _Handler, method: str, metrics: GrpcMetrics) -> None:
        # Any: typed for synchronous servers, where a handler returns an iterator.
        self._serve: Any = handler.unary_stream or handler.unary_unary
        self._deserialize: Any = handler.request_deserializer
        _, self._service, self._method = method.split("/", 2)
        self._metrics = metrics

    def deserialize(self, data: bytes) -> Any:
        # An exception in here would reach the caller as UNKNOWN with the name of a Python class.
        try:
            return self._deserialize(data)
        except DecodeError:
            return _Undecodable()

    async def serve_unary(self, request: Any, context: _Context) -> Any:
        async def serve() -> Any:
            return await self._serve(request, context)

        return await self._around(request, context, "unary", serve)

    async def serve_stream(self, request: Any, context: _Context) -> None:
        async def serve() -> None:
            outcome = self._serve(request, context)
            if inspect.isasyncgen(outcome):
                async with aclosing(outcome):
                    async for message in outcome:
                        await context.write(message)
            else:
                await outcome

        await self._around(request, context, "server_stream", serve)

    async def _around(
        self,
        request: Any,
        context: _Context,
        kind: str,
        serve: Callable[[], Awaitable[Any]],
    ) -> Any:
        call_id = _request_id(context)
        request_id.set(call_id)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=call_id)
        labels = (kind, self._service, self._method)
        self._metrics.started(labels)
        start_s = time.monotonic()
        code = grpc.StatusCode.OK
        try:
            if isinstance(request, _Undecodable):
                raise InvalidRequest("request", "is not a message of the method's type")
            return await serve()
        except InferenceError as error:
            status = status_of(error, call_id)
            code = status.code
            await _abort(context, status)
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            if has_deadline_passed(context, time.monotonic() - start_s):
                code = grpc.StatusCode.DEADLINE_EXCEEDED
            raise
        except grpc.aio.AbortError:
            code = grpc.StatusCode(_code_of(context))
            raise
        except Exception:
            _logger.exception("call_failed", method=f"{self._service}/{self._method}")
            status = internal_status(call_id)
            code = status.code
            await _abort(context, status)
        finally:
            self._metrics.handled(labels, code, time.monotonic() - start_s)


def has_deadline_passed(context: _Context, elapsed_s: float) -> bool:
    """Tells a caller's deadline from a caller who left: gRPC cancels the call for both."""
    rest_s: Any = context.time_remaining()  # None where there is no deadline, against its type
    # A deadline is rounded up by a hundredth at most on its way here, and the caller ends the call
    # when his own has passed.
    return rest_s is not None and rest_s <= 0.01 * (elapsed_s + rest_s)


async def _abort(context: _Context, status: CallStatus) -> None:
    await context.abort_with_status(status)


def _code_of(context: _Context) -> Any:
    code: Any = context.code()  # a number, in this release
    if isinstance(code, grpc.StatusCode):
        return code
    return next((known for known in grpc.StatusCode if known.value[0] == code), code)


def _request_id(context: _Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if (
            key == "x-request-id"
            and isinstance(value, str)
            and 0 < len(value) <= MAX_REQUEST_ID_CHARACTERS
            and value.isprintable()
            and value.isascii()
        ):
            return value
    return uuid.uuid4().hex
