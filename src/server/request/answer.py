"""Whole answers, put together from their deltas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..contract.events import (
    ChoiceFinished,
    PromptLogprobs,
    PromptTokenLogprob,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    Told,
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


@dataclass(slots=True)
class Answer:
    """All that a request was told, of the prompt and by each choice, in their order."""

    choices: list[ChoiceAnswer]
    prompt_logprobs: list[PromptTokenLogprob]


def collect_answer(told: Iterable[Told]) -> Answer:
    """Puts the deltas of a whole request together; there is at least one choice."""
    choices = {0: ChoiceAnswer(0)}
    prompt_logprobs: list[PromptTokenLogprob] = []
    for delta in join_deltas(sorted(told, key=_place_of)):
        if isinstance(delta, PromptLogprobs):
            prompt_logprobs += delta.tokens
            continue
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
    return Answer([choices[index] for index in sorted(choices)], prompt_logprobs)


def _place_of(delta: Told) -> tuple[int, int]:
    """Sorts by choice and tool call: pieces of one that others came between join, too."""
    if isinstance(delta, PromptLogprobs):
        return -1, -1
    return delta.choice, delta.index if isinstance(delta, ToolCallDelta) else -1
