"""Whether the log-probabilities of a request can be sent, told before anything is generated."""

from __future__ import annotations

from ...contract.engine import SamplingParams
from ...contract.errors import InvalidRequest
from ...settings.fixed_limits import MAX_LOGPROBS_OF_ONE_MESSAGE, MAX_PROMPT_LOGPROBS
from ..calls import Call


def check_answer_size(call: Call, params: SamplingParams, num_prompt_tokens: int) -> None:
    """Raises `InvalidRequest` where a request may have more log-probabilities than can be sent.

    Those of a prompt are bounded by themselves. Those of an answer are where it is one message: as
    deltas any number of them can be sent.
    """
    num_of_prompt = _num_of_prompt(params, num_prompt_tokens)
    if params.logprobs is None or not call.wants_one_message:
        return
    of_a_token = 1 + params.logprobs
    most = num_of_prompt + params.n * params.max_tokens * of_a_token
    if most > MAX_LOGPROBS_OF_ONE_MESSAGE:
        beside = f"{num_of_prompt} of the prompt and " if num_of_prompt else ""
        raise InvalidRequest(
            "sampling.logprobs",
            f"delivery FINAL takes {MAX_LOGPROBS_OF_ONE_MESSAGE} log-probabilities at most, and "
            f"this answer may have {most}: {beside}{params.n} x {params.max_tokens} tokens with "
            f"{of_a_token} each; lower one of them, or use delivery DELTAS",
        )


def _num_of_prompt(params: SamplingParams, num_prompt_tokens: int) -> int:
    if params.prompt_logprobs is None:
        return 0
    of_a_token = 1 + params.prompt_logprobs
    count = num_prompt_tokens * of_a_token
    if count > MAX_PROMPT_LOGPROBS:
        raise InvalidRequest(
            "sampling.prompt_logprobs",
            f"a prompt has {MAX_PROMPT_LOGPROBS} log-probabilities at most, and this one would "
            f"have {count}: {num_prompt_tokens} tokens with {of_a_token} each",
        )
    return count
