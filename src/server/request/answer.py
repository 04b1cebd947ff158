"""Whole answers, put together from their deltas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..contract.events import (
    ChoiceFinished,
    Delta,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
)
from .log.joined_deltas import join_deltas


@dataclass(slots=True)
class ChoiceAnswer:
    """All that one choice said. `token_ids` are those of text and thinking, in their order."""

    index: int
    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCallDelta] = field(default_factory=list[ToolCallDelta])
    token_ids: list[int] = field(default_factory=list[int])
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])
    finished: ChoiceFinished | None = None


def collect_choices(deltas: Iterable[Delta]) -> list[ChoiceAnswer]:
    """Puts the deltas of a whole request together, by choice; at least one."""
    choices = {0: ChoiceAnswer(0)}
    for delta in join_deltas(sorted(deltas, key=_place_of)):
        choice = choices.setdefault(delta.choice, ChoiceAnswer(delta.choice))
        match delta:
            case TextDelta():
                choice.text += delta.text
                choice.token_ids += delta.token_ids
                choice.logprobs += delta.logprobs
            case ReasoningDelta():
                choice.reasoning += delta.text
                choice.token_ids += delta.token_ids
            case ToolCallDelta():
                choice.tool_calls.append(delta)
            case ChoiceFinished():
                choice.finished = delta
    return [choices[index] for index in sorted(choices)]


def _place_of(delta: Delta) -> tuple[int, int]:
    """Sorts by choice and tool call: pieces of one that others came between join, too."""
    return delta.choice, delta.index if isinstance(delta, ToolCallDelta) else -1
