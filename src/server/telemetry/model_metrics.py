"""Counters and histograms of the front. Names: `docs/operations.md`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
)

from ..contract.errors import UnsupportedModel
from ..models.model_state import ModelView, State
from ..models.served_model import ServedModel
from ..request.calls import CallAborted, CallFailed, CallFinished
from ..request.ended_request import EndedRequest

# Buckets of the OpenTelemetry conventions for generative AI (gen-ai-metrics.md).
_TTFT_BUCKETS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25),
    *(0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
_PER_TOKEN_BUCKETS_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKEN_BUCKETS = tuple(4.0**i for i in range(14))

_GAUGES: dict[str, tuple[str, Callable[[ServedModel], float]]] = {
    "llm_requests_in_flight": (
        "Requests that hold a slot.",
        lambda model: float(model.admission.num_in_flight),
    ),
    "llm_queue_depth": (
        "Requests that wait for a slot, or for the model to be loaded.",
        lambda model: float(model.admission.num_queued),
    ),
    "llm_engine_up": (
        "1 while an engine serves the model.",
        lambda model: float(model.view.state is State.SERVING),
    ),
    "llm_engine_restarts": (
        "Engines of the model that died.",
        lambda model: float(model.keeper.num_restarts),
    ),
    "llm_model_load_seconds": (
        "Time that the last load of the engine took.",
        lambda model: model.keeper.load_s or 0.0,
    ),
    "llm_model_download_bytes": (
        "Bytes of the model's last download that are here.",
        lambda model: float(model.standing.download.num_bytes),
    ),
    "llm_model_download_expected_bytes": (
        "Bytes of all files of the model's last download.",
        lambda model: float(model.standing.download.num_bytes_expected),
    ),
    "llm_kv_cache_without_scales": (
        "1 while the model serves with an FP8 KV cache that has no scales of its own.",
        lambda model: float(_lacks_scales(model.view)),
    ),
}


class ModelMetrics:
    """What requests cost and how they fared, by model."""

    def __init__(
        self,
        registry: CollectorRegistry,
        models: Iterable[ServedModel],
        adapters: Iterable[str] = (),
    ) -> None:
        model = ("model",)
        self._ttft = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from a request's arrival to its first token.",
            model,
            buckets=_TTFT_BUCKETS_S,
            registry=registry,
        )
        self._per_token = Histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Time between output tokens, mean of a request.",
            model,
            buckets=_PER_TOKEN_BUCKETS_S,
            registry=registry,
        )
        self._tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of a request.",
            (*model, "gen_ai_token_type"),
            buckets=_TOKEN_BUCKETS,
            registry=registry,
        )
        self._cached = Counter(
            "llm_cached_prompt_tokens",
            "Prompt tokens found in the prefix cache.",
            model,
            registry=registry,
        )
        self._queue_wait = Histogram(
            "llm_queue_wait_seconds",
            "Wait for a slot.",
            model,
            buckets=_TTFT_BUCKETS_S,
            registry=registry,
        )
        self._finished = Counter(
            "llm_requests_finished",
            "Requests that ended well.",
            (*model, "finish_reason"),
            registry=registry,
        )
        self._rejected = Counter(
            "llm_requests_rejected",
            "Requests that ended with an error.",
            (*model, "reason"),
            registry=registry,
        )
        self._aborted = Counter(
            "llm_requests_aborted",
            "Requests whose client left before the end.",
            model,
            registry=registry,
        )
        gauges = {
            name: Gauge(name, help_text, model, registry=registry)
            for name, (help_text, _) in _GAUGES.items()
        }
        states = Gauge(
            "llm_model_state",
            "1 for the state that the model is in.",
            (*model, "state"),
            registry=registry,
        )
        for adapter in adapters:
            self._zero(adapter)
        for served in models:
            self._zero(served.model_id)
            for state in State:
                gauge = states.labels(served.model_id, state.value)
                gauge.set_function(partial(_is_in_state, served, state))
            for name, (_, read) in _GAUGES.items():
                gauges[name].labels(served.model_id).set_function(partial(read, served))

    def _zero(self, model: str) -> None:
        for metric in (self._ttft, self._per_token, self._cached, self._queue_wait, self._aborted):
            metric.labels(model)
        for kind in ("input", "output"):
            self._tokens.labels(model, kind)
        for reason in ("stop", "eos", "length", "time_limit"):
            self._finished.labels(model, reason)

    def record(self, ended: EndedRequest) -> None:
        """Counts a request by how it ended: an observer of requests."""
        outcome = ended.outcome
        if outcome == CallFailed(UnsupportedModel.reason):
            return  # the label would be the caller's own text
        model = ended.call.model_id
        match outcome:
            case CallFinished():
                self._record_finished(model, outcome)
            case CallFailed(reason):
                self._rejected.labels(model, reason).inc()
            case CallAborted():
                self._aborted.labels(model).inc()

    def _record_finished(self, model: str, summary: CallFinished) -> None:
        self._finished.labels(model, summary.reason.value).inc()
        self._tokens.labels(model, "input").observe(summary.num_prompt_tokens)
        self._tokens.labels(model, "output").observe(summary.num_completion_tokens)
        self._cached.labels(model).inc(summary.num_cached_prompt_tokens)
        self._queue_wait.labels(model).observe(summary.queue_s)
        if summary.ttft_s is not None:
            self._ttft.labels(model).observe(summary.ttft_s)
        if summary.tokens_per_second > 0:
            self._per_token.labels(model).observe(1 / summary.tokens_per_second)


def _lacks_scales(view: ModelView) -> bool:
    info = view.info
    return view.state is State.SERVING and info is not None and info.has_kv_cache_scales is False


def _is_in_state(model: ServedModel, state: State) -> float:
    return float(model.view.state is state)
