"""Makes the spans of one process."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    ParentBasedTraceIdRatio,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

from .. import __version__
from .exporter import make_exporter
from .settings import SamplerName, TracingSettings, read_pairs
from .span_queue import SpanQueue
from .trace_context import TraceContext

Attributes = Mapping[str, str | bool | int | float | tuple[str, ...]]

_NOTHING: Final[Attributes] = {}
_ROOT: Final = Context()


class Span:
    """A span that has begun. Whoever began it ends it, once.

    `context` is what goes on to those below it, recorded or not.
    """

    __slots__ = ("_span", "context")

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self.context = _read(span.get_span_context())

    @property
    def is_recorded(self) -> bool:
        """Whether it goes to a collector; what it would say need not be put together if not."""
        return self._span.is_recording()

    def add_event(self, name: str, attributes: Attributes, time_ns: int) -> None:
        """Says that something happened at a time of the wall clock."""
        self._span.add_event(name, attributes, time_ns)

    def end(
        self,
        attributes: Attributes = _NOTHING,
        *,
        name: str = "",
        error_type: str = "",
        is_error: bool = False,
        end_ns: int | None = None,
    ) -> None:
        """Ends it, now or at `end_ns` of the wall clock.

        `name` replaces the one it began with. `error_type` says what went wrong, in few words of
        ours; `is_error` whether that is a fault of this side.
        """
        span = self._span
        span.set_attributes(attributes)
        if name:
            span.update_name(name)
        if error_type:
            span.set_attribute("error.type", error_type)
        if is_error:
            span.set_status(StatusCode.ERROR, error_type)
        span.end(end_ns)


class Tracer:
    """Begins spans and exports those that have ended; use it as an asynchronous context manager.

    async with Tracer(settings, "service", "edge") as tracer:
        span = tracer.begin_server("GET", caller)
        ...
        span.end({"http.response.status_code": 200})
    """

    def __init__(self, settings: TracingSettings, service_name: str, process: str) -> None:
        self._queue = SpanQueue(make_exporter(settings), settings)
        own = {
            "service.name": settings.otel_service_name or service_name,
            "service.version": __version__,
            "service.instance.id": str(uuid.uuid4()),
            "tokenwire.process": process,
        }
        self._provider = TracerProvider(
            sampler=_make_sampler(settings),
            resource=Resource.create({**read_pairs(settings.otel_resource_attributes), **own}),
            shutdown_on_exit=False,  # it is done where the process ends in order
        )
        self._provider.add_span_processor(self._queue)
        self._tracer = self._provider.get_tracer("tokenwire", __version__)

    @property
    def num_dropped(self) -> int:
        """Spans that reached no collector."""
        return self._queue.num_dropped

    async def __aenter__(self) -> Self:
        """Starts to export."""
        self._queue.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Exports what is left, for a second at most."""
        await asyncio.to_thread(self._provider.shutdown)

    def begin_server(self, name: str, caller: TraceContext) -> Span:
        """Begins the span of what a caller asks for; it decides whether the trace is recorded."""
        return self._begin(name, SpanKind.SERVER, caller)

    def begin_client(self, name: str, parent: TraceContext) -> Span:
        """Begins the span of a call to another process."""
        return self._begin(name, SpanKind.CLIENT, parent)

    def begin_at(self, name: str, parent: TraceContext, start_ns: int) -> Span:
        """Begins the span of work in this process, at a time of the wall clock."""
        return self._begin(name, SpanKind.INTERNAL, parent, start_ns)

    def _begin(
        self, name: str, kind: SpanKind, parent: TraceContext, start_ns: int | None = None
    ) -> Span:
        return Span(self._tracer.start_span(name, _parent(parent), kind, start_time=start_ns))


def _make_sampler(settings: TracingSettings) -> Sampler:
    ratio = settings.otel_traces_sampler_arg
    match settings.otel_traces_sampler:
        case SamplerName.ALWAYS_ON:
            return ALWAYS_ON
        case SamplerName.ALWAYS_OFF:
            return ALWAYS_OFF
        case SamplerName.RATIO:
            return TraceIdRatioBased(ratio)
        case SamplerName.PARENT_ALWAYS_ON:
            return DEFAULT_ON
        case SamplerName.PARENT_ALWAYS_OFF:
            return DEFAULT_OFF
        case SamplerName.PARENT_RATIO:
            return ParentBasedTraceIdRatio(ratio)


def _parent(parent: TraceContext) -> Context:
    if not parent.traceparent:
        return _ROOT
    context = SpanContext(
        trace_id=int(parent.trace_id, 16),
        span_id=int(parent.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(parent.traceparent[53:], 16)),
        trace_state=TraceState.from_header([parent.tracestate]) if parent.tracestate else None,
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(context), _ROOT)


def _read(context: SpanContext) -> TraceContext:
    return TraceContext(
        f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}",
        context.trace_state.to_header(),
    )
