"""Sampling as asked for, made into the values that an engine gets."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from ..contract.engine import ModelInfo, SamplingParams
from ..contract.errors import InvalidRequest
from ..settings.server_config import ServerConfig
from .calls import SamplingRequest

CLAMPED_RANGES: Final[dict[str, tuple[float, float]]] = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "top_k": (0, 1_000_000),
    "min_p": (0.0, 1.0),
    # Logits of hundreds divided by 0.01 still fit into float16, and any logits into float32.
    "repetition_penalty": (0.01, 2.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
}
"""Where `clamp` moves values to. Without it, refusing those outside is the proto's."""

# A temperature below may divide logits out of the range of float32. A nucleus below holds the
# likeliest token alone, which is never rarer than one in a vocabulary of a million; and float32
# turns a smaller one into 0, which engines refuse.
_GREEDY_BELOW = 1e-6


@dataclass(frozen=True, slots=True)
class SamplingDefaults:
    """What a request gets where it says nothing, and the most tokens it may ask for."""

    temperature: float
    top_p: float
    max_tokens: int
    max_tokens_limit: int

    @classmethod
    def of(cls, config: ServerConfig) -> SamplingDefaults:
        """Reads them from the configuration."""
        return cls(
            temperature=config.default_temperature,
            top_p=config.default_top_p,
            max_tokens=config.default_max_tokens,
            max_tokens_limit=config.max_tokens_limit,
        )


def resolve_sampling(
    asked: SamplingRequest, defaults: SamplingDefaults, model: ModelInfo, num_prompt_tokens: int
) -> SamplingParams:
    """Applies defaults, clamps where that is asked for, and draws a seed where none is given.

    `max_tokens` of the result may be 0. The prompt is expected to fit into the context.

    Raises:
        InvalidRequest: a value over the server's limit, an id outside the vocabulary, or something
            that the model's engine cannot do.
    """
    _check_ids("sampling.stop_token_ids", asked.stop_token_ids, model.vocab_size)
    _check_ids("sampling.logit_bias", asked.logit_bias, model.vocab_size)
    if asked.clamp:
        asked = _clamp(asked)
    temperature = _or(asked.temperature, defaults.temperature)
    top_p = _or(asked.top_p, defaults.top_p)
    is_greedy = temperature < _GREEDY_BELOW or top_p < _GREEDY_BELOW
    if is_greedy:
        temperature, top_p = 0.0, 1.0
    _check_engine_can(asked, model, is_greedy=is_greedy)
    room = model.context_length - num_prompt_tokens
    return SamplingParams(
        temperature=temperature,
        top_p=top_p,
        max_tokens=min(_max_tokens(asked, defaults), room),
        top_k=asked.top_k,
        min_p=asked.min_p,
        repetition_penalty=_or(asked.repetition_penalty, 1.0),
        presence_penalty=asked.presence_penalty,
        frequency_penalty=asked.frequency_penalty,
        seed=_seed(asked, model),
        min_tokens=min(asked.min_tokens, room),
        stop=asked.stop,
        stop_token_ids=asked.stop_token_ids,
        logit_bias=asked.logit_bias,
        ignore_eos=asked.ignore_eos,
        n=asked.n,
        logprobs=asked.logprobs,
        prompt_logprobs=asked.prompt_logprobs,
    )


def _max_tokens(asked: SamplingRequest, defaults: SamplingDefaults) -> int:
    if asked.max_tokens is None:
        return max(defaults.max_tokens, asked.min_tokens)
    if asked.max_tokens > defaults.max_tokens_limit and not asked.clamp:
        raise InvalidRequest(
            "sampling.max_tokens",
            f"must be at most {defaults.max_tokens_limit}, got {asked.max_tokens}",
        )
    return min(asked.max_tokens, defaults.max_tokens_limit)


def _seed(asked: SamplingRequest, model: ModelInfo) -> int | None:
    if not model.capabilities.seeds:
        return None
    return secrets.randbits(32) if asked.seed is None else asked.seed


def _check_engine_can(asked: SamplingRequest, model: ModelInfo, *, is_greedy: bool) -> None:
    can = model.capabilities
    for field, is_set, is_possible in (
        # Nothing is drawn for a greedy answer: every engine honours every seed. Programs that
        # measure models send one always.
        ("seed", asked.seed is not None, can.seeds or is_greedy),
        ("min_tokens", asked.min_tokens > 0, can.min_tokens),
        ("stop_token_ids", bool(asked.stop_token_ids), can.stop_token_ids),
        ("logprobs", asked.logprobs is not None, can.logprobs),
        ("prompt_logprobs", asked.prompt_logprobs is not None, can.prompt_logprobs),
    ):
        if is_set and not is_possible:
            raise InvalidRequest(
                f"sampling.{field}", f"is not supported by the engine of this model, {model.engine}"
            )


def _check_ids(field: str, ids: Iterable[int], vocab_size: int) -> None:
    for token_id in ids:
        if token_id >= vocab_size:
            raise InvalidRequest(
                field, f"token ids of this model are below {vocab_size}, got {token_id}"
            )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _clamp(asked: SamplingRequest) -> SamplingRequest:
    values: dict[str, Any] = {name: getattr(asked, name) for name in CLAMPED_RANGES}
    for name, (low, high) in CLAMPED_RANGES.items():
        if values[name] is not None:
            values[name] = min(max(values[name], low), high)
    return replace(asked, **values)
