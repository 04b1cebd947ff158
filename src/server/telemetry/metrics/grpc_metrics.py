"""Counters of gRPC calls. Names: `docs/observability.md`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram

from ....metrics.forms import exemplar_of
from ....tracing.trace_context import TraceContext
from .buckets import DURATION_S

CallLabels = tuple[str, str, str]
"""Kind, service and method of a call."""


def labels_of(method: str, has_requests: bool, has_responses: bool) -> CallLabels:
    """Returns the labels of a method, `/service/name`, by which side streams."""
    _, service, name = method.split("/", 2)
    kind = "server_stream" if has_responses else "unary"
    return ("bidi_stream" if has_requests else kind), service, name


@dataclass(slots=True)
class MessageCounts:
    """The messages of one call: counted here for each of them, and added up at its end."""

    num_received: int = 0
    num_sent: int = 0


class GrpcMetrics:
    """Calls by service, method and code, under the names that gRPC dashboards expect."""

    def __init__(self, registry: CollectorRegistry, methods: Iterable[CallLabels]) -> None:
        labels = ("grpc_type", "grpc_service", "grpc_method")
        self._started = Counter(
            "grpc_server_started", "Calls that began.", labels, registry=registry
        )
        self._handled = Counter(
            "grpc_server_handled", "Calls that ended.", (*labels, "grpc_code"), registry=registry
        )
        self._seconds = Histogram(
            "grpc_server_handling_seconds",
            "Time from a call's begin to its end.",
            labels,
            buckets=DURATION_S,
            registry=registry,
        )
        self._received = Counter(
            "grpc_server_msg_received",
            "Messages of callers that were read.",
            labels,
            registry=registry,
        )
        self._sent = Counter(
            "grpc_server_msg_sent", "Messages that were written.", labels, registry=registry
        )
        for method in methods:
            for metric in (self._started, self._received, self._sent):
                metric.labels(*method)
            self._seconds.labels(*method)
            for code in grpc.StatusCode:
                self._handled.labels(*method, _camel_case(code))

    def started(self, labels: CallLabels) -> None:
        """Counts a call's begin."""
        self._started.labels(*labels).inc()

    def handled(
        self,
        labels: CallLabels,
        code: grpc.StatusCode,
        seconds: float,
        messages: MessageCounts,
        trace: TraceContext,
    ) -> None:
        """Counts a call's end, with the messages that it had."""
        self._handled.labels(*labels, _camel_case(code)).inc()
        self._seconds.labels(*labels).observe(seconds, exemplar_of(trace))
        self._received.labels(*labels).inc(messages.num_received)
        self._sent.labels(*labels).inc(messages.num_sent)


def _camel_case(code: grpc.StatusCode) -> str:
    if code is grpc.StatusCode.OK:
        return "OK"
    return re.sub(r"_?([A-Z])([A-Z]*)", lambda m: m[1] + m[2].lower(), code.name)
