"""Counters of gRPC calls. Names: `docs/operations.md`."""

from __future__ import annotations

import re
from collections.abc import Iterable

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram

# Buckets of the OpenTelemetry conventions for generative AI (gen-ai-metrics.md).
_DURATION_BUCKETS_S = tuple(0.01 * 2**i for i in range(14))

_CallLabels = tuple[str, str, str]


class GrpcMetrics:
    """Calls by service, method and code, under the names that gRPC dashboards expect."""

    def __init__(self, registry: CollectorRegistry, methods: Iterable[_CallLabels]) -> None:
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
            buckets=_DURATION_BUCKETS_S,
            registry=registry,
        )
        for method in methods:
            self._started.labels(*method)
            self._seconds.labels(*method)
            for code in grpc.StatusCode:
                self._handled.labels(*method, _camel_case(code))

    def started(self, labels: _CallLabels) -> None:
        """Counts a call's begin."""
        self._started.labels(*labels).inc()

    def handled(self, labels: _CallLabels, code: grpc.StatusCode, seconds: float) -> None:
        """Counts a call's end."""
        self._handled.labels(*labels, _camel_case(code)).inc()
        self._seconds.labels(*labels).observe(seconds)


def _camel_case(code: grpc.StatusCode) -> str:
    if code is grpc.StatusCode.OK:
        return "OK"
    return re.sub(r"_?([A-Z])([A-Z]*)", lambda m: m[1] + m[2].lower(), code.name)
