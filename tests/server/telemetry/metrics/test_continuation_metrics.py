"""The counters of requests that lost their engine."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry
from tokenwire.server.request.calls import CallFailed
from tokenwire.server.request.clock import Pause
from tokenwire.server.telemetry.metrics.continuation_metrics import ContinuationMetrics

from ..test_spans import ended


def test_pauses_and_ends() -> None:
    """Each pause with an end is a continuation; one without fails it, unless the client left."""
    registry = CollectorRegistry()
    metrics = ContinuationMetrics(registry)
    metrics.expect("m")
    metrics.record("m", ended())
    metrics.record("m", replace(ended(), pauses=(Pause(1.0, 3.0), Pause(4.0, 4.5))))
    metrics.record("m", replace(ended(CallFailed("ENGINE_LOST")), pauses=(Pause(1.0),)))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, {"model": "m", **labels})

    assert value("llm_requests_continued_total") == 2
    assert value("llm_continuations_failed_total") == 1
    assert value("llm_continuation_pause_seconds_sum") == 2.5
    assert value("llm_continuation_pause_seconds_bucket", le="0.5") == 1
