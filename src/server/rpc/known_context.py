"""What is known about a call before its message is."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable
from typing import Any

import grpc

from ...tracing.trace_context import TraceContext
from ..request.calls import CallContext
from ..settings.fixed_limits import MAX_REQUEST_ID_CHARACTERS
from ..telemetry.metrics.grpc_metrics import MessageCounts

_Context = grpc.aio.ServicerContext[Any, Any]


class KnownContext:
    """What gRPC gives a handler, with the facts about its call: everything else of it is as before.

    async def Chat(self, request, context: KnownContext) -> None:
        call = decode_chat(request, context.call)
    """

    __slots__ = ("_grpc", "_messages", "call")

    def __init__(self, context: _Context, call: CallContext, messages: MessageCounts) -> None:
        self.call = call
        self._grpc = context
        self._messages = messages

    def write(self, message: Any) -> Awaitable[None]:
        """Writes a message, and counts it."""
        self._messages.num_sent += 1
        return self._grpc.write(message)

    def __getattr__(self, name: str) -> Any:  # whatever gRPC's own class has
        return getattr(self._grpc, name)


def has_deadline_passed(call: CallContext, start_s: float) -> bool:
    """Tells a caller's deadline from a caller who left: gRPC cancels the call for both.

    `start_s` is when the call arrived, on the clock of `time.monotonic`.
    """
    if call.deadline_s is None:
        return False
    # A deadline is rounded up by a hundredth at most on its way here, and the caller ends the call
    # when his own has passed.
    return call.deadline_s - time.monotonic() <= 0.01 * (call.deadline_s - start_s)


def read_call_context(context: _Context, start_s: float, key: str) -> CallContext:
    """Gathers what came around a call that arrived at `start_s` with the key of this name."""
    rest_s: Any = context.time_remaining()  # None where there is no deadline, against its type
    return CallContext(
        request_id=_request_id(context),
        deadline_s=None if rest_s is None else start_s + rest_s,
        caller=str(context.peer()),
        trace=TraceContext.read(
            _metadata(context, "traceparent"), _metadata(context, "tracestate")
        ),
        key=key,
    )


def _request_id(context: _Context) -> str:
    value = _metadata(context, "x-request-id")
    is_usable = len(value) <= MAX_REQUEST_ID_CHARACTERS and value.isprintable() and value.isascii()
    return value if value and is_usable else uuid.uuid4().hex


def _metadata(context: _Context, name: str) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == name and isinstance(value, str):
            return value
    return ""
