"""Requests under the names and labels of the OpenTelemetry conventions for generative AI."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Histogram

from ...contract.prompts import ChatPrompt
from ...request.calls import CallFinished
from ...request.ended_request import EndedRequest
from .buckets import DURATION_S, PER_TOKEN_S, TOKENS, TTFT_S
from .outcomes import failure_of

_CHAT: Final = "chat"
_TEXT_COMPLETION: Final = "text_completion"
# Who serves, and not which engine: that is known only when the model is loaded.
_PROVIDER: Final = "tokenwire"
_LABELS: Final = (
    "gen_ai_operation_name",
    "gen_ai_provider_name",
    "gen_ai_request_model",
    "gen_ai_response_model",
)


class GenAiMetrics:
    """What requests took, and their tokens."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._duration = Histogram(
            "gen_ai_server_request_duration_seconds",
            "Time from a request's arrival to its end, however it ended.",
            (*_LABELS, "error_type"),
            buckets=DURATION_S,
            registry=registry,
        )
        self._ttft = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from a request's arrival to its first token.",
            _LABELS,
            buckets=TTFT_S,
            registry=registry,
        )
        self._per_token = Histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Time between output tokens, mean of a request.",
            _LABELS,
            buckets=PER_TOKEN_S,
            registry=registry,
        )
        self._tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of a request that ended well.",
            (*_LABELS, "gen_ai_token_type"),
            buckets=TOKENS,
            registry=registry,
        )

    def expect(self, model: str) -> None:
        """Sets the numbers of a model to zero: of requests that end well, where that is told."""
        for operation in (_CHAT, _TEXT_COMPLETION):
            labels = (operation, _PROVIDER, model, model)
            self._duration.labels(*labels, "")
            self._ttft.labels(*labels)
            self._per_token.labels(*labels)
            for kind in ("input", "output"):
                self._tokens.labels(*labels, kind)

    def record(self, model: str, ended: EndedRequest, exemplar: dict[str, str] | None) -> None:
        """Counts one request."""
        operation = _CHAT if isinstance(ended.call.prompt, ChatPrompt) else _TEXT_COMPLETION
        labels = (operation, _PROVIDER, model, model)
        times, outcome = ended.timeline, ended.outcome
        error_type = failure_of(outcome)
        self._duration.labels(*labels, error_type).observe(ended.duration_s, exemplar)
        if times.first_token_s is not None:
            self._ttft.labels(*labels).observe(times.first_token_s - times.arrived_s, exemplar)
        if isinstance(outcome, CallFinished):
            self._tokens.labels(*labels, "input").observe(outcome.num_prompt_tokens)
            self._tokens.labels(*labels, "output").observe(outcome.num_completion_tokens)
            if outcome.tokens_per_second > 0:
                self._per_token.labels(*labels).observe(1 / outcome.tokens_per_second, exemplar)
