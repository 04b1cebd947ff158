"""The one log line of a request, at its end."""

from __future__ import annotations

import structlog

from ..request.calls import CallAborted, CallFailed, CallFinished, CallOutcome
from ..request.ended_request import EndedRequest

_logger = structlog.get_logger(__name__)


def log_request(ended: EndedRequest) -> None:
    """Logs what a request cost and how it ended; never what was asked or answered."""
    _logger.info(
        "request",
        model=ended.call.model_id,
        duration_s=round(ended.duration_s, 4),
        **_describe(ended.outcome),
    )


def _describe(outcome: CallOutcome) -> dict[str, object]:
    match outcome:
        case CallFailed(reason, detail):
            return {"outcome": reason, **({"detail": detail} if detail else {})}
        case CallAborted():
            return {"outcome": "aborted"}
        case CallFinished():
            return {
                "outcome": "finished",
                "finish_reason": outcome.reason.value,
                "num_prompt_tokens": outcome.num_prompt_tokens,
                "num_cached_prompt_tokens": outcome.num_cached_prompt_tokens,
                "num_completion_tokens": outcome.num_completion_tokens,
                "queue_s": round(outcome.queue_s, 4),
                "ttft_s": None if outcome.ttft_s is None else round(outcome.ttft_s, 4),
                "tokens_per_second": round(outcome.tokens_per_second, 2),
            }
