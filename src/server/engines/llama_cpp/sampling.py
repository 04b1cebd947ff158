"""Sampling values as llama.cpp's `/completion` takes them."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

from ...contract.engine import SamplingParams
from ...contract.prompts import RenderedPrompt

# Temperature before the cuts, as OpenAI, Hugging Face and SGLang do; llama.cpp's own order has it
# last. Samplers that are not listed are off, whatever the server's or the file's defaults.
_SAMPLERS: Final = ("penalties", "temperature", "top_k", "top_p", "min_p")
_GREEDY_SAMPLERS: Final = ("penalties", "temperature")
_RANDOM_SEED: Final = 0xFFFFFFFF
_SEED_IN_ITS_PLACE: Final = 0x9E3779B9  # any other; not its neighbour, which the next choice has
_SEED_STEP: Final = 0x85EBCA6B  # odd, and far from 1: no seed of another choice is met soon


def sampling_fields(
    params: SamplingParams, prompt: RenderedPrompt, choice: int = 0, num_earlier: int = 0
) -> dict[str, object]:
    """Spells out every sampling value of a choice, so that no default of server or file is used.

    Stop strings and stop ids are not among them: see `StreamReader`.

    Presence and frequency penalties count the answer, as OpenAI's and SGLang's do; a token of the
    prompt is spared the presence penalty also when the answer repeats it. The repetition penalty
    counts prompt and answer, as Hugging Face's does (SGLang's: the answer alone).

    `num_earlier` tokens of the answer stand behind `prompt` already. They count as the answer; the
    random numbers cannot go on behind them, so that others are drawn, the same each time.
    """
    greedy = params.temperature == 0 or params.top_p <= 0 or params.top_k == 1
    has_penalties = (
        params.repetition_penalty != 1.0
        or params.presence_penalty != 0.0
        or params.frequency_penalty != 0.0
    )
    return {
        "n_predict": params.max_tokens - num_earlier,
        "samplers": _GREEDY_SAMPLERS if greedy else _SAMPLERS,
        "temperature": 0.0 if greedy else params.temperature,
        "top_k": 0 if greedy else params.top_k,
        "top_p": 1.0 if greedy else params.top_p,
        "min_p": 0.0 if greedy else params.min_p,
        "mirostat": 0,
        "dynatemp_range": 0.0,
        "repeat_penalty": params.repetition_penalty,
        "presence_penalty": params.presence_penalty,
        "frequency_penalty": params.frequency_penalty,
        # Over the whole sequence, not the last 64 tokens. Not simply a large number: llama.cpp
        # allocates a window of this size (2e9 took 8 GB).
        "repeat_last_n": len(prompt.token_ids) + params.max_tokens if has_penalties else 0,
        "seed": _seed(params.seed_of(choice), num_earlier),
        "logit_bias": _logit_bias(params, prompt),
        "ignore_eos": params.ignore_eos,
        # Without at least one of the likeliest tokens there are no log-probabilities at all.
        "n_probs": 0 if params.logprobs is None else max(1, params.logprobs),
        "post_sampling_probs": False,
        # The stream has the last id of each piece: enough to see the stop ids, and for the next
        # process to go on behind them (`PieceIds`).
        "return_tokens": True,
    }


def _logit_bias(params: SamplingParams, prompt: RenderedPrompt) -> list[tuple[int, float]]:
    biases = defaultdict[int, float](float)
    if params.presence_penalty or params.frequency_penalty:
        # llama.cpp counts the prompt's tokens too: among them the ones that end a turn, without
        # which a chat would not end. So what it takes off for them is given back.
        for token_id, count in Counter(prompt.token_ids).items():
            biases[token_id] = params.presence_penalty + params.frequency_penalty * count
    for token_id, bias in params.logit_bias.items():
        biases[token_id] += bias
    return list(biases.items())


def _seed(seed: int | None, num_earlier: int) -> int:
    if seed is None:
        return _RANDOM_SEED
    seed = (seed + num_earlier * _SEED_STEP) % (1 << 32)
    # The largest uint32 means "draw one": it would not repeat.
    return _SEED_IN_ITS_PLACE if seed == _RANDOM_SEED else seed
