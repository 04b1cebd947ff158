"""A collector of spans on a real gRPC port, which can also hang and refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

KINDS = {1: "internal", 2: "server", 3: "client"}
STATUSES = {0: "", 1: "ok", 2: "error"}


@dataclass(frozen=True)
class SeenSpan:
    """A span as the collector got it. `parent_id` is empty for a root."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    status: str
    status_text: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    state: str
    start_ns: int
    end_ns: int
    num_events: int


class OtlpSink:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[SeenSpan] = []
        self.metadata: dict[str, str] = {}
        self.endpoint = ""
        self.is_hanging = False
        self.refusal: grpc.StatusCode | None = None
        self.raw = b""
        self.asked = asyncio.Event()

    async def Export(self, request: Any, context: Any) -> Any:
        self.asked.set()
        if self.is_hanging:
            await asyncio.Event().wait()
        if self.refusal is not None:
            await context.abort(self.refusal, "not here")
        self.metadata = dict(context.invocation_metadata())
        self.raw += request.SerializeToString()
        self.spans += read_spans(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def variables(self) -> dict[str, str]:
        """What makes a process of the service send its spans here."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint}

    def tree(self) -> list[Any]:
        """The spans of the one trace as `[name, child, child, …]`, in the order of their begins."""
        (root,) = self.roots()
        assert len({span.trace_id for span in self.spans}) == 1
        assert len({span.span_id for span in self.spans}) == len(self.spans)
        tree, size = self._below(root)
        assert size == len(self.spans), "every span hangs under the root"
        return tree

    def roots(self) -> list[SeenSpan]:
        """The spans whose parents are not here."""
        known = {span.span_id for span in self.spans}
        return [span for span in self.spans if span.parent_id not in known]

    def one(self, name: str, kind: str = "") -> SeenSpan:
        """The one span of a name."""
        (found,) = (s for s in self.spans if s.name == name and kind in ("", s.kind))
        return found

    def _below(self, span: SeenSpan) -> tuple[list[Any], int]:
        children = sorted(
            (each for each in self.spans if each.parent_id == span.span_id),
            key=lambda each: (each.start_ns, each.end_ns),
        )
        below = [self._below(child) for child in children]
        return [span.name, *(tree for tree, _ in below)], 1 + sum(size for _, size in below)


@asynccontextmanager
async def start_sink(
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncGenerator[OtlpSink]:
    """Runs a collector on a free port, with TLS where it gets credentials."""
    sink = OtlpSink()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(sink, server)
    if credentials is None:
        sink.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
        sink.endpoint = f"https://127.0.0.1:{port}"
    await server.start()
    try:
        yield sink
    finally:
        await server.stop(0)


def read_spans(request: Any) -> list[SeenSpan]:
    """The spans of one message."""
    return [
        SeenSpan(
            name=span.name,
            kind=KINDS[span.kind],
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            status=STATUSES[span.status.code],
            status_text=span.status.message,
            attributes=_values(span.attributes),
            resource=_values(resource.resource.attributes),
            state=span.trace_state,
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            num_events=len(span.events),
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _values(pairs: Iterable[Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        if kind == "array_value":
            value = [each.string_value for each in value.values]
        values[pair.key] = value
    return values
