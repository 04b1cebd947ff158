"""Whether a whole answer fits into one message, told before it is generated."""

from __future__ import annotations

from ...contract.engine import SamplingParams
from ...contract.errors import InvalidRequest
from ...settings.fixed_limits import MAX_LOGPROBS_OF_ONE_MESSAGE
from ..calls import Call


def check_answer_size(call: Call, params: SamplingParams) -> None:
    """Raises `InvalidRequest` where an answer in one message may have too many log-probabilities.

    As deltas any number of them can be sent.
    """
    if params.logprobs is None or not call.wants_one_message:
        return
    of_a_token = 1 + params.logprobs
    most = params.n * params.max_tokens * of_a_token
    if most > MAX_LOGPROBS_OF_ONE_MESSAGE:
        raise InvalidRequest(
            "sampling.logprobs",
            f"delivery FINAL takes {MAX_LOGPROBS_OF_ONE_MESSAGE} log-probabilities at most, and "
            f"this answer may have {most}: {params.n} x {params.max_tokens} tokens with "
            f"{of_a_token} each; lower one of them, or use delivery DELTAS",
        )
