"""Requests under the names of the previous service, which dashboards still read."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from ...request.calls import CallAborted, CallFinished
from ...request.ended_request import EndedRequest
from .buckets import DURATION_S, TOKENS_PER_SECOND

_SUCCESS: Final = "success"
_ERROR: Final = "error"


class PreviousMetrics:
    """Generations, whichever door they came through. Those whose client left are left out."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "inference_llm_requests",
            "Generations.",
            ("model", "status"),
            registry=registry,
        )
        self._duration = Histogram(
            "inference_llm_duration_seconds",
            "Duration of generations.",
            ("model", "status"),
            buckets=DURATION_S,
            registry=registry,
        )
        self._tokens = Counter(
            "inference_llm_tokens_generated",
            "Output tokens of generations that succeeded.",
            ("model",),
            registry=registry,
        )
        self._speed = Histogram(
            "inference_llm_tokens_per_second",
            "Output tokens by duration, of generations that succeeded.",
            ("model",),
            buckets=TOKENS_PER_SECOND,
            registry=registry,
        )

    def expect(self, model: str) -> None:
        """Sets the numbers of a model to zero."""
        for status in (_SUCCESS, _ERROR):
            self._requests.labels(model, status)
            self._duration.labels(model, status)
        self._tokens.labels(model)
        self._speed.labels(model)

    def record(self, model: str, ended: EndedRequest) -> None:
        """Counts one request."""
        outcome = ended.outcome
        if isinstance(outcome, CallAborted):
            return
        status = _SUCCESS if isinstance(outcome, CallFinished) else _ERROR
        self._requests.labels(model, status).inc()
        self._duration.labels(model, status).observe(ended.duration_s)
        if isinstance(outcome, CallFinished):
            self._tokens.labels(model).inc(outcome.num_completion_tokens)
            if ended.duration_s > 0:
                self._speed.labels(model).observe(outcome.num_completion_tokens / ended.duration_s)
