"""Sampling values as SGLang spells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ....contract.engine import SamplingParams
from ..earlier_penalties import earlier_arguments

BAN: Final = -1e4
"""A bias that no logit of a real model outweighs. Not infinite: SGLang adds penalties to it."""

_WORDS: Final = {
    "max_new_tokens": "max_tokens",
    "min_new_tokens": "min_tokens",
    "context length": "length",
    "lora": "LoRA adapter",
} | {
    name: name
    for name in (
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "stop_token_ids",
    )
}
"""What SGLang names when it refuses a request, and what callers know it by."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The ids that exist, and those that end an answer."""

    size: int
    end_ids: frozenset[int]


def sampling_arguments(
    params: SamplingParams, vocabulary: Vocabulary, choice: int = 0, num_earlier: int = 0
) -> dict[str, Any]:
    """Spells the sampling values of a choice for SGLang, every one of them.

    `num_earlier` tokens of the answer are the last ones of the input. SGLang draws by seed and
    position, so that random numbers go on behind them as they would have.

    Stop strings stay with us (`StopMatcher`): SGLang looks for them in a window of tokens, and
    misses one that the model spells in an unusual way. Ids outside the vocabulary cannot be
    generated, and would crash the scheduler as stop ids or in a bias. Where end tokens are to be
    ignored but stop ids are not, the end tokens are banned, because SGLang ignores both kinds or
    none.
    """
    stop_ids = [token_id for token_id in params.stop_token_ids if 0 <= token_id < vocabulary.size]
    bias = {
        str(token_id): value
        for token_id, value in params.logit_bias.items()
        if 0 <= token_id < vocabulary.size
    }
    if params.ignore_eos and stop_ids:
        bias |= {str(token_id): BAN for token_id in vocabulary.end_ids.difference(stop_ids)}
    elif params.min_tokens and not params.ignore_eos:
        # SGLang before 0.5.19 holds back the tokenizer's end token and these alone, and not the
        # other end tokens of the model.
        stop_ids += sorted(vocabulary.end_ids.difference(stop_ids))
    seed = params.seed_of(choice)
    return {
        "max_new_tokens": params.max_tokens - num_earlier,
        "min_new_tokens": max(0, params.min_tokens - num_earlier),
        "temperature": params.temperature,
        # top_p 0 keeps the likeliest token alone, which is what greedy means; SGLang refuses 0.
        "top_p": params.top_p or 1.0,
        "top_k": 1 if params.top_p == 0 else params.top_k or -1,
        "min_p": params.min_p,
        "repetition_penalty": params.repetition_penalty,
        "presence_penalty": params.presence_penalty,
        "frequency_penalty": params.frequency_penalty,
        "stop_token_ids": stop_ids or None,
        "ignore_eos": params.ignore_eos and not stop_ids,
        "logit_bias": bias or None,
        "skip_special_tokens": True,
        # A request for each choice (`Generation`): SGLang's own cannot be aborted by its id.
        "n": 1,
        **({} if seed is None else {"sampling_seed": seed}),
        **earlier_arguments(num_earlier),
    }


def logprob_arguments(params: SamplingParams, *, with_prompt: bool) -> dict[str, Any]:
    """Spells which log-probabilities SGLang is to tell: of the answer, and `with_prompt` of all.

    It has one number of likeliest tokens for both, and then reads the whole prompt anew.
    """
    of_prompt = params.prompt_logprobs if with_prompt else None
    nums = [num for num in (params.logprobs, of_prompt) if num is not None]
    if not nums:
        return {}
    return {
        "return_logprob": True,
        "top_logprobs_num": max(nums),
        "logprob_start_len": -1 if of_prompt is None else 0,
    }


def name_refused(text: str) -> str:
    """Names what of a request SGLang refuses in these words, as callers know it; empty: unknown."""
    text = text.lower()
    found = [(text.index(word), name) for word, name in _WORDS.items() if word in text]
    return min(found, default=(0, ""))[1]
