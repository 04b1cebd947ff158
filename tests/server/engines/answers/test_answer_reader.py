"""The events of an engine, with thinking and calls told from text."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence

import pytest
from tokenwire.server.contract.errors import GenerationFailed
from tokenwire.server.contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    Prefill,
    ReasoningDelta,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
)
from tokenwire.server.contract.tools import AnswerForm
from tokenwire.server.engines.answers.answer_reader import AnswerReader
from tokenwire.server.request.answer import ChoiceAnswer, collect_answer

from .recorded import CLOCK, PARIS, RECORDED, WEATHER, Recorded

HERMES = AnswerForm((WEATHER,), "hermes", "think")
CALL = f'<tool_call>{{"name": "get_weather", "arguments": {PARIS}}}</tool_call>'


def read(form: AnswerForm | None, events: Iterable[EngineEvent]) -> list[EngineEvent]:
    """Reads events of one generation."""
    reader = AnswerReader(form)
    return [told for event in events for told in reader.read(event)]


def tokens(text: str, choice: int = 0) -> list[EngineEvent]:
    """Makes a token of each character, with its place as its id."""
    return [TextDelta(text[i], 1, (i,), choice=choice) for i in range(len(text))]


def end(reason: FinishReason = FinishReason.EOS, matched: str | int | None = None) -> EngineEvent:
    return ChoiceFinished(reason, matched)


def whole(events: Sequence[EngineEvent]) -> ChoiceAnswer:
    """Puts the first choice together, as delivery FINAL does."""
    deltas = [event for event in events if not isinstance(event, (Finished, Prefill, Started))]
    return collect_answer(deltas).choices[0]


def test_without_a_form_nothing_changes() -> None:
    """An answer that is text alone passes as it is."""
    events = [Started(3), TextDelta("<think>", 1), end(), Finished(2, 3)]
    assert read(None, events) == events


def test_thinking_then_a_call() -> None:
    """Each part has its own events, its tokens, and the end says TOOL_CALLS."""
    thinking, text = "<think>\nHm.\n</think>\n\n", "One moment.\n"
    answer = thinking + text + CALL
    told = read(HERMES, [Started(0), *tokens(answer), end(), Finished(len(answer) + 1, 0)])
    final = whole(told)
    assert (final.reasoning, final.text) == ("Hm.", "One moment.")
    [call] = final.tool_calls
    assert (call.index, call.name, call.arguments) == (0, "get_weather", PARIS)
    assert call.id.startswith("call_")
    assert final.finished == ChoiceFinished(FinishReason.TOOL_CALLS)
    finished = told[-1]
    assert isinstance(finished, Finished)
    assert 0 < finished.num_reasoning_tokens <= len(thinking)
    counted = sum(getattr(event, "num_tokens", 0) for event in told)
    assert counted == len(answer)
    thought = sum(event.num_tokens for event in told if isinstance(event, ReasoningDelta))
    assert thought == finished.num_reasoning_tokens


def test_a_call_comes_in_parts() -> None:
    """Id and name stand on the first part, the arguments come behind it."""
    first, second = [
        event for event in read(HERMES, tokens(CALL)) if isinstance(event, ToolCallDelta)
    ]
    assert (first.index, first.name, first.arguments) == (0, "get_weather", "")
    assert (second.index, second.id, second.name, second.arguments) == (0, "", "", PARIS)
    assert first.id


def test_held_back_tokens_count_at_once() -> None:
    """While a block is held back each token is counted as it comes: nobody takes it for a hang."""
    reader = AnswerReader(HERMES)
    counted = 0
    for number, event in enumerate(tokens(CALL[:-1]), 1):
        counted += sum(getattr(told, "num_tokens", 0) for told in reader.read(event))
        if number >= len("<tool_call>"):
            assert counted == number


def test_a_block_that_is_no_call_keeps_its_tokens() -> None:
    """Ids and log-probabilities come with the text; the tokens are counted once."""
    text = "<tool_call>{oh no"
    events = [TextDelta(text[i], 1, (i,), (TokenLogprob(i, -1.0, b""),)) for i in range(len(text))]
    told = read(HERMES, [*events, end()])
    final = whole(told)
    assert final.text == text
    assert final.token_ids == list(range(len(text)))
    assert [logprob.token_id for logprob in final.logprobs] == final.token_ids
    assert sum(getattr(event, "num_tokens", 0) for event in told) == len(text)
    assert final.finished == ChoiceFinished(FinishReason.EOS)


@pytest.mark.parametrize(
    ("reason", "matched", "told"),
    [
        (FinishReason.EOS, None, FinishReason.TOOL_CALLS),
        (FinishReason.STOP, 7, FinishReason.TOOL_CALLS),
        (FinishReason.STOP, "stop", FinishReason.STOP),
        (FinishReason.LENGTH, None, FinishReason.LENGTH),
    ],
)
def test_end_behind_a_call(
    reason: FinishReason, matched: str | int | None, told: FinishReason
) -> None:
    """An end that the model chose is TOOL_CALLS; one that it did not choose keeps its reason."""
    final = whole(read(HERMES, [*tokens(CALL), end(reason, matched)]))
    assert final.finished is not None
    assert final.finished.reason is told


def test_forced_answers() -> None:
    """A demanded call that the engine did not produce is a failure, unless the answer was cut."""
    form = AnswerForm((WEATHER,), "json", forced_schema="{}")
    good = f'[{{"name":"get_weather","arguments":{PARIS}}}]'
    assert len(whole(read(form, [*tokens(good), end()])).tool_calls) == 1
    with pytest.raises(GenerationFailed):
        read(form, tokens("H"))
    with pytest.raises(GenerationFailed):
        read(form, [*tokens("[]"), end()])
    cut = whole(read(form, [*tokens(good[:9]), end(FinishReason.LENGTH)]))
    assert (cut.text, cut.tool_calls) == (good[:9], [])


def test_choices_do_not_mix() -> None:
    """Each choice is read by itself, and the usage sums their thinking."""
    first, second = tokens("<think>a</think>b"), tokens("<think>cd</think>e", choice=1)
    mixed = [event for pair in zip(first, second, strict=False) for event in pair]
    events = [*mixed, *second[len(first) :], end(), ChoiceFinished(FinishReason.EOS, choice=1)]
    told = read(HERMES, [*events, Finished(40, 0)])
    deltas = [event for event in told if not isinstance(event, (Finished, Prefill, Started))]
    choices = collect_answer(deltas).choices
    assert [(choice.reasoning, choice.text) for choice in choices] == [("a", "b"), ("cd", "e")]
    assert isinstance(told[-1], Finished)
    assert told[-1].num_reasoning_tokens == sum(
        event.num_tokens for event in told if isinstance(event, ReasoningDelta)
    )


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded.name)
def test_streamed_equals_final(recorded: Recorded) -> None:
    """However tokens cut an answer, its whole is the same, and every call is JSON."""
    form = AnswerForm(
        (WEATHER, CLOCK),
        recorded.tool_parser,
        recorded.reasoning_parser,
        begins_in_thought=recorded.begins_in_thought,
    )
    for seed in range(20):
        chance = random.Random(seed)
        events: list[EngineEvent] = []
        position = 0
        while position < len(recorded.answer):
            length = chance.randint(1, 1 + seed)
            part = recorded.answer[position : position + length]
            events.append(TextDelta(part, 1, (position,)))
            position += length
        told = read(form, [*events, end(FinishReason.LENGTH)])
        final = whole(told)
        assert (final.text, final.reasoning) == (recorded.text, recorded.thinking)
        calls = [(call.name, call.arguments) for call in final.tool_calls]
        assert calls == list(recorded.calls)
        assert all(isinstance(json.loads(arguments), dict) for _, arguments in calls)
        assert sum(getattr(event, "num_tokens", 0) for event in told) == len(events)
