"""The counters of requests."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from tokenwire.server.telemetry.metrics.request_metrics import RequestMetrics

from ..test_spans import STARTED, ended


@pytest.mark.parametrize(("num_cached", "counted"), [(None, 0), (3, 3), (5, 4)])
def test_tokens_are_counted_by_where_they_come_from(num_cached: int | None, counted: int) -> None:
    """An engine that claims more cached tokens than the prompt has hides no other number."""
    registry = CollectorRegistry()
    metrics = RequestMetrics(registry, ["m"])
    started = replace(STARTED, num_prompt_tokens=4, num_cached_prompt_tokens=num_cached)
    metrics.record(replace(ended(), started=started))

    def value(name: str) -> float | None:
        return registry.get_sample_value(name, {"model": "m"})

    assert value("llm_prefill_tokens_total") == 4 - counted
    assert value("llm_cached_prompt_tokens_total") == counted
    assert value("llm_decode_tokens_total") == 3
