"""Counters and histograms of requests that lost their engine. Names: `docs/observability.md`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from ...request.ended_request import EndedRequest

PAUSE_S = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class ContinuationMetrics:
    """Counts, by model, how requests went on when their engine died, at their end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        model = ("model",)
        self._continued = Counter(
            "llm_requests_continued",
            "Times that a request went on with another engine.",
            model,
            registry=registry,
        )
        self._failed = Counter(
            "llm_continuations_failed",
            "Requests that lost their engine and got an error, because no other went on with them.",
            model,
            registry=registry,
        )
        self._pause = Histogram(
            "llm_continuation_pause_seconds",
            "Time from the loss of an engine to what the next one said first.",
            model,
            buckets=PAUSE_S,
            registry=registry,
        )

    def expect(self, model: str) -> None:
        """Sets the numbers of a model to zero."""
        for metric in (self._continued, self._failed, self._pause):
            metric.labels(model)

    def record(self, model: str, ended: EndedRequest) -> None:
        """Counts a request."""
        if not ended.pauses:
            return
        self._continued.labels(model).inc(ended.num_continuations)
        self._failed.labels(model).inc(ended.has_failed_to_go_on)
        for pause in ended.pauses:
            if pause.ended_s is not None:
                self._pause.labels(model).observe(pause.ended_s - pause.began_s)
