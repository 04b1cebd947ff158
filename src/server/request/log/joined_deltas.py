"""Neighbouring deltas of one kind and choice as one, in time linear in their size."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, groupby
from sys import getsizeof
from typing import Final

from ...contract.events import (
    ChoiceFinished,
    PromptLogprobs,
    ReasoningDelta,
    TextDelta,
    Told,
    ToolCallDelta,
)

_DELTA_BYTES: Final = 200
_ID_BYTES: Final = 36
_LOGPROB_BYTES: Final = 160
"""What Python takes for a delta beside its text, and for each token id and log-probability in it:
measured on CPython 3.11, rounded up."""


def join_deltas(deltas: Iterable[Told]) -> list[Told]:
    """Joins neighbours that say more of the same thing; the order stays."""
    joined: list[Told] = []
    for _, group in groupby(deltas, key=_thing_of):
        first, *others = group
        joined.append(_join(first, others) if others else first)
    return joined


def num_bytes_of(delta: Told) -> int:
    """Estimates what a delta takes in memory, in bytes."""
    match delta:
        case TextDelta():
            num_bytes = _DELTA_BYTES + getsizeof(delta.text) + _ID_BYTES * len(delta.token_ids)
            if delta.logprobs:  # a sum over none would cost as much as the rest, for each token
                num_logprobs = sum(1 + len(logprob.top) for logprob in delta.logprobs)
                num_bytes += _LOGPROB_BYTES * num_logprobs
            return num_bytes
        case ReasoningDelta():
            return _DELTA_BYTES + getsizeof(delta.text) + _ID_BYTES * len(delta.token_ids)
        case ToolCallDelta():
            return _DELTA_BYTES + getsizeof(delta.arguments) + _ID_BYTES * len(delta.token_ids)
        case ChoiceFinished():
            return _DELTA_BYTES
        case PromptLogprobs(tokens):
            return _DELTA_BYTES + _LOGPROB_BYTES * sum(1 + len(token.top) for token in tokens)


def _thing_of(delta: Told) -> tuple[object, ...]:
    match delta:
        case ToolCallDelta():
            return (ToolCallDelta, delta.choice, delta.index)
        case ChoiceFinished():
            return (id(delta),)  # never joined
        case PromptLogprobs():
            return (PromptLogprobs,)
        case _:
            return (type(delta), delta.choice)


def _join(first: Told, others: list[Told]) -> Told:
    parts = [first, *others]
    match first:
        case TextDelta():
            texts = [part for part in parts if isinstance(part, TextDelta)]
            return TextDelta(
                "".join(part.text for part in texts),
                sum(part.num_tokens for part in texts),
                tuple(chain.from_iterable(part.token_ids for part in texts)),
                tuple(chain.from_iterable(part.logprobs for part in texts)),
                first.choice,
            )
        case ReasoningDelta():
            thoughts = [part for part in parts if isinstance(part, ReasoningDelta)]
            return ReasoningDelta(
                "".join(part.text for part in thoughts),
                sum(part.num_tokens for part in thoughts),
                tuple(chain.from_iterable(part.token_ids for part in thoughts)),
                first.choice,
            )
        case ToolCallDelta():
            calls = [part for part in parts if isinstance(part, ToolCallDelta)]
            return ToolCallDelta(
                first.index,
                first.id,
                first.name,
                "".join(part.arguments for part in calls),
                sum(part.num_tokens for part in calls),
                first.choice,
                tuple(chain.from_iterable(part.token_ids for part in calls)),
            )
        case ChoiceFinished():
            return first
        case PromptLogprobs():
            told = [part.tokens for part in parts if isinstance(part, PromptLogprobs)]
            return PromptLogprobs(tuple(chain.from_iterable(told)))
