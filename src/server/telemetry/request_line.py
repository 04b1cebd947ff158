"""The one log line of a request, at its end. Its fields: `docs/logs.md`."""

from __future__ import annotations

import grpc
import structlog

from ...error_table import TRAITS
from ...generated.tokenwire.v1 import inference_pb2
from ..contract.errors import UnsupportedModel
from ..contract.prompts import ChatPrompt
from ..request.calls import INTERNAL, CallAborted, CallFailed, CallFinished, CallOutcome
from ..request.ended_request import EndedRequest

_logger = structlog.get_logger(__name__)

_SERVICE = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


def log_request(ended: EndedRequest) -> None:
    """Logs what a request cost and how it ended; never what was asked or answered."""
    context = ended.call.context
    # A caller may write anything in the place of a model's name.
    is_known = ended.outcome != CallFailed(UnsupportedModel.reason)
    method = "Chat" if isinstance(ended.call.prompt, ChatPrompt) else "Generate"
    fields: dict[str, object] = {
        "request_id": context.request_id,
        "trace_id": context.trace_id or None,
        "key": context.key or None,
        "peer": context.caller,
        "method": f"{_SERVICE}/{method}",
        "model": ended.call.model_id if is_known else None,
        "code": _code(ended.outcome),
        "duration_s": _seconds(ended.duration_s),
        "num_continuations": ended.num_continuations or None,
        **_numbers(ended),
        "num_resumes": ended.num_resumes or None,
        **_outcome(ended.outcome),
    }
    _logger.info("request", **{name: value for name, value in fields.items() if value is not None})


def _numbers(ended: EndedRequest) -> dict[str, object]:
    """Tells what `Finished` tells; of a request that ended otherwise as much as came about."""
    outcome = ended.outcome
    if isinstance(outcome, CallFinished):
        return {
            "num_prompt_tokens": outcome.num_prompt_tokens,
            "num_cached_prompt_tokens": outcome.num_cached_prompt_tokens,
            "num_completion_tokens": outcome.num_completion_tokens,
            "num_reasoning_tokens": outcome.num_reasoning_tokens,
            "queue_s": _seconds(outcome.queue_s),
            "ttft_s": _seconds(outcome.ttft_s),
            "prefill_s": _seconds(outcome.prefill_s),
            "decode_s": _seconds(outcome.decode_s),
            "tokens_per_second": round(outcome.tokens_per_second, 2),
        }
    times = ended.timeline
    ttft_s = None if times.first_token_s is None else times.first_token_s - times.arrived_s
    return {
        "num_prompt_tokens": ended.num_prompt_tokens,
        "num_completion_tokens": ended.num_completion_tokens or None,
        "ttft_s": _seconds(ttft_s),
    }


def _outcome(outcome: CallOutcome) -> dict[str, object]:
    match outcome:
        case CallFailed(reason, detail):
            return {"outcome": reason, "detail": detail or None}
        case CallAborted():
            return {"outcome": "aborted"}
        case CallFinished(reason=finish):
            return {"outcome": "finished", "finish_reason": finish.value}


def _code(outcome: CallOutcome) -> str:
    match outcome:
        case CallFailed(reason):
            return INTERNAL if reason == INTERNAL else _CODES[TRAITS[reason].grpc_code]
        case CallAborted():
            return grpc.StatusCode.CANCELLED.name
        case CallFinished():
            return grpc.StatusCode.OK.name


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
