"""Whole answers."""

from __future__ import annotations

import pytest
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Delta,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from tokenwire.server.request.answer import ChoiceAnswer, collect_answer

from ..random_deltas import Said, random_deltas, said


def test_no_deltas_are_one_empty_choice() -> None:
    """A request that said nothing has one choice that said nothing."""
    assert collect_answer([]).choices == [ChoiceAnswer(0)]


def test_choices_come_by_index() -> None:
    """Choices are told apart and ordered, whoever spoke first."""
    deltas: list[Delta] = [
        TextDelta("b", 1, choice=1),
        TextDelta("a", 1),
        TextDelta("B", 1, choice=1),
        ChoiceFinished(FinishReason.LENGTH, choice=1),
        ChoiceFinished(FinishReason.STOP, "END"),
    ]
    first, second = collect_answer(deltas).choices
    assert (first.index, first.text, first.finished) == (0, "a", deltas[4])
    assert (second.index, second.text, second.finished) == (1, "bB", deltas[3])


def test_tool_calls_may_be_told_in_turns() -> None:
    """Parts of two tool calls that come in turns, text between them, are two calls."""
    deltas = [
        ToolCallDelta(0, "call-0", "weather", "{"),
        ToolCallDelta(1, "call-1", "time", "["),
        TextDelta("wait", 1),
        ToolCallDelta(0, "", "", "}"),
        ToolCallDelta(1, "", "", "]"),
    ]
    (choice,) = collect_answer(deltas).choices
    assert choice.tool_calls == [
        ToolCallDelta(0, "call-0", "weather", "{}"),
        ToolCallDelta(1, "call-1", "time", "[]"),
    ]
    assert choice.text == "wait"


def test_ids_are_those_of_thinking_and_text() -> None:
    """Ids of thinking and text come in the order in which they were generated."""
    deltas = [ReasoningDelta("a", 1, (1,)), TextDelta("b", 1, (2,)), ReasoningDelta("c", 1, (3,))]
    (choice,) = collect_answer(deltas).choices
    assert (choice.text, choice.reasoning, choice.token_ids) == ("b", "ac", [1, 2, 3])


@pytest.mark.parametrize("seed", range(40))
def test_whole_answer_is_what_the_deltas_say(seed: int) -> None:
    """Whatever was said in which order, the whole answer is the deltas put together."""
    deltas = random_deltas(seed)
    choices = collect_answer(deltas).choices
    assert {choice.index: as_said(choice) for choice in choices} == {
        index: as_said(choice) for index, choice in said(deltas).items()
    }


def as_said(choice: ChoiceAnswer | Said) -> object:
    """What both of them tell."""
    if isinstance(choice, Said):
        calls = [(index, *call) for index, call in sorted(choice.tool_calls.items())]
        end = choice.end
    else:
        calls = [(call.index, call.id, call.name, call.arguments) for call in choice.tool_calls]
        end = choice.finished and (choice.finished.reason, choice.finished.matched)
    return choice.text, choice.reasoning, calls, choice.token_ids, choice.logprobs, end
