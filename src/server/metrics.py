"""Counters and histograms of the front. Names: `docs/operations.md`."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from wsgiref.simple_server import WSGIServer

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from .. import __version__
from .calls import Summary
from .models import ModelView, ServedModel, State

# Buckets of the OpenTelemetry conventions for generative AI (gen-ai-metrics.md).
_DURATION_BUCKETS_S = tuple(0.01 * 2**i for i in range(14))
_TTFT_BUCKETS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25),
    *(0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
_PER_TOKEN_BUCKETS_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKEN_BUCKETS = tuple(4.0**i for i in range(14))

_CallLabels = tuple[str, str, str]

_GAUGES: dict[str, tuple[str, Callable[[ServedModel], float]]] = {
    "llm_requests_in_flight": (
        "Requests that hold a slot.",
        lambda model: float(model.admission.num_in_flight),
    ),
    "llm_queue_depth": (
        "Requests that wait for a slot, or for the model to be loaded.",
        lambda model: float(model.admission.num_queued + model.num_waiting),
    ),
    "llm_engine_up": (
        "1 while an engine serves the model.",
        lambda model: float(model.view.state is State.SERVING),
    ),
    "llm_engine_restarts": (
        "Engines of the model that died.",
        lambda model: float(model.num_restarts),
    ),
    "llm_model_load_seconds": (
        "Time that the last load of the engine took.",
        lambda model: model.load_s or 0.0,
    ),
    "llm_kv_cache_without_scales": (
        "1 while the model serves with an FP8 KV cache that has no scales of its own.",
        lambda model: float(_lacks_scales(model.view)),
    ),
}


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

    def finished(self, model: str, summary: Summary) -> None:
        """Counts a request that ended well."""
        self._finished.labels(model, summary.reason.value).inc()
        self._tokens.labels(model, "input").observe(summary.num_prompt_tokens)
        self._tokens.labels(model, "output").observe(summary.num_completion_tokens)
        self._cached.labels(model).inc(summary.num_cached_prompt_tokens)
        self._queue_wait.labels(model).observe(summary.queue_s)
        if summary.ttft_s is not None:
            self._ttft.labels(model).observe(summary.ttft_s)
        if summary.tokens_per_second > 0:
            self._per_token.labels(model).observe(1 / summary.tokens_per_second)

    def rejected(self, model: str, reason: str) -> None:
        """Counts a request that ended with an error; `model` is one that is served."""
        self._rejected.labels(model, reason).inc()

    def aborted(self, model: str) -> None:
        """Counts a request whose client left."""
        self._aborted.labels(model).inc()


class MetricsServer:
    """Serves a registry over HTTP from a thread of its own, also while the event loop is busy."""

    def __init__(self, registry: CollectorRegistry, hostname: str, port: int) -> None:
        self._registry = registry
        self._hostname = hostname
        self._port = port
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> MetricsServer:
        """Starts to listen.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._server, self._thread = start_http_server(
            self._port, self._hostname, registry=self._registry
        )
        self._port = self._server.server_port
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stops listening."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(timeout=5)

    @property
    def port(self) -> int:
        """The port in use, also where any free one was asked for."""
        return self._port


def new_registry() -> CollectorRegistry:
    """Makes a registry that holds the process's own figures and the version."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    build = Gauge("llm_build_info", "Version of the server.", ("version",), registry=registry)
    build.labels(__version__).set(1)
    return registry


def _lacks_scales(view: ModelView) -> bool:
    info = view.info
    return view.state is State.SERVING and info is not None and info.has_kv_cache_scales is False


def _is_in_state(model: ServedModel, state: State) -> float:
    return float(model.view.state is state)


def _camel_case(code: grpc.StatusCode) -> str:
    if code is grpc.StatusCode.OK:
        return "OK"
    return re.sub(r"_?([A-Z])([A-Z]*)", lambda m: m[1] + m[2].lower(), code.name)
