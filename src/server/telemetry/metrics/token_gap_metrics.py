"""The histogram of inter-token latency."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ...request.token_gaps import TOKEN_GAP_BOUNDS_S, TokenGaps

_BOUNDS = (*map(str, TOKEN_GAP_BOUNDS_S), "+Inf")


class TokenGapMetrics(Collector):
    """Adds up the gaps of requests, by model.

    Its own histogram: the library's takes one number at a time, and a request has thousands.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counts: dict[str, list[int]] = {}
        self._sums_s: dict[str, float] = {}
        registry.register(self)

    def expect(self, model: str) -> None:
        """Sets a model's histogram to zero."""
        self._counts[model] = [0] * len(_BOUNDS)
        self._sums_s[model] = 0.0

    def add(self, model: str, gaps: TokenGaps) -> None:
        """Counts the gaps of one request."""
        # One new list, not a change of each number: a scrape in between must add up.
        self._counts[model] = list(map(sum, zip(self._counts[model], gaps.counts, strict=True)))
        self._sums_s[model] += gaps.sum_s

    def collect(self) -> Iterable[Metric]:
        """Returns the histogram."""
        family = HistogramMetricFamily(
            "llm_inter_token_latency_seconds",
            "Time between output tokens, each gap for itself.",
            labels=("model",),
        )
        for model, counts in list(self._counts.items()):
            numbers = map(float, accumulate(counts))
            buckets = list(zip(_BOUNDS, numbers, strict=True))
            family.add_metric((model,), buckets, self._sums_s[model])
        yield family
