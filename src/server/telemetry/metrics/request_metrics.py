"""Counters and histograms of requests. Names: `docs/observability.md`."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram

from ....metrics.forms import exemplar_of
from ...contract.errors import UnsupportedModel
from ...contract.events import FinishReason
from ...request.calls import CallAborted, CallFailed, CallFinished
from ...request.ended_request import EndedRequest
from .buckets import TTFT_S
from .continuation_metrics import ContinuationMetrics
from .gen_ai_metrics import GenAiMetrics
from .outcomes import ABORT_CAUSES, REJECT_REASONS, UNKNOWN_MODEL, failure_of
from .previous_metrics import PreviousMetrics
from .token_gap_metrics import TokenGapMetrics


class RequestMetrics:
    """What requests cost and how they fared, by model.

    A request ends in one of three counters: finished, rejected before its engine could begin, or
    aborted behind that. `models` are ids and the names of adapters.
    """

    def __init__(self, registry: CollectorRegistry, models: Iterable[str]) -> None:
        model = ("model",)
        self._finished = Counter(
            "llm_requests_finished",
            "Requests that ended well.",
            (*model, "finish_reason"),
            registry=registry,
        )
        self._rejected = Counter(
            "llm_requests_rejected",
            "Requests that ended before their engine could begin.",
            (*model, "reason"),
            registry=registry,
        )
        self._aborted = Counter(
            "llm_requests_aborted",
            "Requests that ended while they ran, and those whose client left.",
            (*model, "cause"),
            registry=registry,
        )
        self._queue_wait = Histogram(
            "llm_queue_wait_seconds",
            "Wait of requests that got a slot.",
            model,
            buckets=TTFT_S,
            registry=registry,
        )
        self._prefilled = Counter(
            "llm_prefill_tokens",
            "Prompt tokens that were computed.",
            model,
            registry=registry,
        )
        self._cached = Counter(
            "llm_cached_prompt_tokens",
            "Prompt tokens found in the prefix cache.",
            model,
            registry=registry,
        )
        self._decoded = Counter("llm_decode_tokens", "Output tokens.", model, registry=registry)
        self._gaps = TokenGapMetrics(registry)
        self._continuations = ContinuationMetrics(registry)
        self._gen_ai = GenAiMetrics(registry)
        self._previous = PreviousMetrics(registry)
        for name in models:
            self._expect(name)
        self._rejected.labels(UNKNOWN_MODEL, UnsupportedModel.reason)

    def _expect(self, model: str) -> None:
        """Sets the numbers of a model to zero."""
        for metric in (self._queue_wait, self._prefilled, self._cached, self._decoded):
            metric.labels(model)
        for finish_reason in FinishReason:
            self._finished.labels(model, finish_reason.value)
        for reason in REJECT_REASONS:
            self._rejected.labels(model, reason)
        for cause in ABORT_CAUSES:
            self._aborted.labels(model, cause)
        self._gaps.expect(model)
        self._continuations.expect(model)
        self._gen_ai.expect(model)
        self._previous.expect(model)

    def record(self, ended: EndedRequest) -> None:
        """Counts a request by how it ended: an observer of requests."""
        outcome, times = ended.outcome, ended.timeline
        is_known = outcome != CallFailed(UnsupportedModel.reason)
        model = ended.call.model_id if is_known else UNKNOWN_MODEL
        match outcome:
            case CallFinished():
                self._finished.labels(model, outcome.reason.value).inc()
            case CallFailed(reason) if times.prefill_began_s is None:
                self._rejected.labels(model, reason).inc()
            case CallFailed() | CallAborted():
                self._aborted.labels(model, failure_of(outcome)).inc()
        exemplar = exemplar_of(ended.call.context.trace)
        if times.queued_s is not None and times.admitted_s is not None:
            wait_s = times.admitted_s - times.queued_s
            self._queue_wait.labels(model).observe(wait_s, exemplar)
        self._continuations.record(model, ended)
        self._gen_ai.record(model, ended, exemplar)
        self._previous.record(model, ended)
        self._record_tokens(model, ended)

    def _record_tokens(self, model: str, ended: EndedRequest) -> None:
        if ended.started is None:
            return
        num_prompt = ended.started.num_prompt_tokens
        # Only the engine knows; and a counter that is told to fall raises, and tells the rest of
        # the request to nobody.
        num_cached = min(ended.started.num_cached_prompt_tokens or 0, num_prompt)
        self._prefilled.labels(model).inc(num_prompt - num_cached)
        self._cached.labels(model).inc(num_cached)
        self._decoded.labels(model).inc(ended.num_completion_tokens)
        self._gaps.add(model, ended.token_gaps)
