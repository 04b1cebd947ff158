"""What an engine may say that the real ones are not asked for yet, by the scripted one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Delta,
    EngineEvent,
    Finished,
    FinishReason,
    Prefill,
    ReasoningDelta,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
)

from ..scripted_engine import ScriptedEngine
from .generation import GREEDY, PARIS, Answer, answer, assert_in_order


def scripted(*deltas: Delta) -> Engine:
    """An engine that has these deltas between its beginning and its end."""
    engine = ScriptedEngine(script=[Prefill(2, 5), Started(2), *deltas, Finished(9, 2)])
    engine.allow(100)
    return engine


def token(token_id: int, text: str) -> TextDelta:
    """A token with its log-probability, and another one that was nearly as likely."""
    logprob = TokenLogprob(
        token_id, -0.5 * token_id, text.encode(), (TopLogprob(99, -9.0, b"\xf0"),)
    )
    return TextDelta(text, 1, (token_id,), (logprob,))


def content_of(result: Answer) -> list[EngineEvent]:
    """What came, without beginning and end."""
    assert_in_order(result.events)
    assert (*result.events[:2], result.events[-1]) == (Prefill(2, 5), Started(2), Finished(9, 2))
    return list(result.events[2:-1])


def joined(choice: int, events: Iterable[EngineEvent]) -> tuple[str, list[int], list[int]]:
    """The text of one choice, its ids, and those of its log-probabilities."""
    texts = [each for each in events if isinstance(each, TextDelta) and each.choice == choice]
    return (
        "".join(delta.text for delta in texts),
        [token_id for delta in texts for token_id in delta.token_ids],
        [logprob.token_id for delta in texts for logprob in delta.logprobs],
    )


async def test_three_choices_interleaved() -> None:
    """Choices come in turns, each in order, each with an end of its own; one ends the request."""
    script = [
        TextDelta("one ", 1, (1,), choice=2),
        TextDelta("eins ", 2, (2, 3), choice=0),
        TextDelta("un ", 1, (4,), choice=1),
        TextDelta("two", 1, (5,), choice=2),
        ChoiceFinished(FinishReason.EOS, choice=2),
        TextDelta("deux", 1, (6,), choice=1),
        TextDelta("zwei", 1, (7,), choice=0),
        ChoiceFinished(FinishReason.STOP, 8, choice=1),
        ChoiceFinished(FinishReason.LENGTH, choice=0),
    ]
    content = content_of(await answer(scripted(*script), PARIS))
    assert content == script
    answers = [joined(choice, content)[:2] for choice in range(3)]
    assert answers == [("eins zwei", [2, 3, 7]), ("un deux", [4, 6]), ("one two", [1, 5])]


async def test_stop_string_ends_one_choice() -> None:
    """Each choice has stop strings of its own to find: text of two choices never makes one."""
    script = [
        TextDelta("go S", 1, choice=0),
        TextDelta("TOP on", 1, choice=1),
        TextDelta("TOP no", 1, choice=0),
        TextDelta("S", 1, choice=1),
        ChoiceFinished(FinishReason.LENGTH, choice=0),
        ChoiceFinished(FinishReason.LENGTH, choice=1),
    ]
    content = content_of(await answer(scripted(*script), PARIS, replace(GREEDY, stop=("STOP",))))
    assert content == [
        TextDelta("go ", 1, choice=0),
        TextDelta("TOP on", 1, choice=1),
        ChoiceFinished(FinishReason.STOP, "STOP", choice=0),
        TextDelta("S", 1, choice=1),
        ChoiceFinished(FinishReason.LENGTH, choice=1),
    ]


async def test_reasoning_then_text_then_two_tool_calls() -> None:
    """An answer thinks, speaks and calls two tools; all of it arrives as it was said."""
    script = [
        ReasoningDelta("The user wants ", 3, (1, 2, 3)),
        ReasoningDelta("two things.", 3, (4, 5, 6)),
        TextDelta("Let me look.", 3, (7, 8, 9)),
        ToolCallDelta(0, "call-0", "weather", ""),
        ToolCallDelta(0, "", "", '{"city":', 4),
        ToolCallDelta(0, "", "", '"Paris"}', 3),
        ToolCallDelta(1, "call-1", "time", "{}", 2),
        ChoiceFinished(FinishReason.TOOL_CALLS),
    ]
    result = await answer(scripted(*script), PARIS)
    assert content_of(result) == script
    assert result.end.reason is FinishReason.TOOL_CALLS


async def test_logprobs_held_back_are_released() -> None:
    """Ids and log-probabilities wait with text that may begin a stop string, and come with it."""
    tokens = [token(1, "so "), token(2, "ST"), token(3, "O"), token(4, "NE")]
    end = ChoiceFinished(FinishReason.EOS)
    params = replace(GREEDY, stop=("STOP",))
    first, released, last = content_of(await answer(scripted(*tokens, end), PARIS, params))
    assert (first, last) == (tokens[0], end)
    assert joined(0, [released]) == ("STONE", [2, 3, 4], [2, 3, 4])
    assert isinstance(released, TextDelta)
    assert released.logprobs == tuple(each.logprobs[0] for each in tokens[1:])


@pytest.mark.parametrize(
    ("last", "kept"), [("OP now", ("so ", [1], [1])), ("ONE", ("so STONE", [1, 2, 3], [1, 2, 3]))]
)
async def test_logprobs_of_stop_string_are_dropped(
    last: str, kept: tuple[str, list[int], list[int]]
) -> None:
    """What belongs to a stop string is told by nobody: no text, no ids, no log-probabilities."""
    script = [token(1, "so "), token(2, "ST"), token(3, last), ChoiceFinished(FinishReason.LENGTH)]
    result = await answer(scripted(*script), PARIS, replace(GREEDY, stop=("STOP",)))
    assert joined(0, content_of(result)) == kept
