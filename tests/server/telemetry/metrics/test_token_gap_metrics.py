"""The histogram of inter-token latency."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from tokenwire.server.request.token_gaps import TokenGaps
from tokenwire.server.telemetry.metrics.token_gap_metrics import TokenGapMetrics


def test_requests_add_up() -> None:
    """Buckets hold all gaps up to their bound, and the sum and the count are those of all."""
    registry = CollectorRegistry()
    metrics = TokenGapMetrics(registry)
    metrics.expect("m")

    def value(suffix: str, **labels: str) -> float | None:
        name = f"llm_inter_token_latency_seconds_{suffix}"
        return registry.get_sample_value(name, {"model": "m", **labels})

    assert value("count") == 0
    for gaps_s in ((0.004, 0.018), (0.018, 60.0)):
        gaps = TokenGaps()
        for gap_s in gaps_s:
            gaps.add(gap_s, 1)
        metrics.add("m", gaps)
    assert value("bucket", le="0.0025") == 0
    assert value("bucket", le="0.005") == 1
    assert value("bucket", le="0.02") == 3
    assert value("bucket", le="10.0") == 3
    assert value("bucket", le="+Inf") == value("count") == 4
    assert value("sum") == 60.04
