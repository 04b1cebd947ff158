"""Answers of real models with thinking and calls in them, cut by a death."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Delta,
    EngineEvent,
    Finished,
    FinishReason,
    Prefill,
    Started,
    TextDelta,
)
from tokenwire.server.contract.tools import AnswerForm
from tokenwire.server.engines.answers.answer_reader import AnswerReader
from tokenwire.server.request.answer import ChoiceAnswer, collect_answer
from tokenwire.server.request.continuing.told_answer import ToldAnswer

from ...engines.answers.recorded import RECORDED, TOOLS, Recorded


def tokens(answer: str, start: int = 0) -> list[EngineEvent]:
    """A token of each character, with its place as its id."""
    return [TextDelta(answer[place], 1, (place,)) for place in range(start, len(answer))]


def tell(told: ToldAnswer, form: AnswerForm, events: Iterable[EngineEvent]) -> list[Delta]:
    """What callers hear of an engine's own events."""
    reader = AnswerReader(form)
    heard: list[Delta] = []
    for event in events:
        for read in reader.read(event):
            match read:
                case Started() | Prefill() | Finished():
                    pass
                case ChoiceFinished():
                    told.take_end(read)
                    heard.append(read)
                case _:
                    if (new := told.take(read)) is not None:
                        heard.append(new)
    return heard


def said(deltas: Sequence[Delta]) -> tuple[str, str, list[tuple[str, str]], int, FinishReason]:
    """What was said, and how many tokens it was."""
    answer: ChoiceAnswer = collect_answer(deltas).choices[0]
    assert answer.finished is not None
    assert all(call.id for call in answer.tool_calls)
    calls = [(call.name, call.arguments) for call in answer.tool_calls]
    num_tokens = sum(d.num_tokens for d in deltas if not isinstance(d, ChoiceFinished))
    return answer.text, answer.reasoning, calls, num_tokens, answer.finished.reason


@pytest.mark.parametrize("is_one_piece", [False, True], ids=["token by token", "in one piece"])
@pytest.mark.parametrize("recorded", RECORDED, ids=lambda each: each.name)
def test_death_within_the_answer(recorded: Recorded, is_one_piece: bool) -> None:
    """Wherever the engine dies, thinking, text and calls are what they are undisturbed."""
    form = AnswerForm(
        tuple(TOOLS.values()), recorded.tool_parser, recorded.reasoning_parser,
        begins_in_thought=recorded.begins_in_thought,
    )  # fmt: skip
    answer = recorded.answer
    end = ChoiceFinished(FinishReason.EOS)
    undisturbed = said(tell(ToldAnswer(1, lambda *_: None), form, [*tokens(answer), end]))
    for num_generated in range(len(recorded.name) % 5, len(answer), 5):
        told = ToldAnswer(1, lambda *_: None)
        heard = tell(told, form, tokens(answer)[:num_generated])
        told.rewind()
        ids = list(told.earlier[0].token_ids)
        assert ids == list(range(len(ids)))
        again = tokens(answer)[: len(ids)]
        if is_one_piece and ids:
            again = [TextDelta(answer[: len(ids)], len(ids), tuple(ids))]
        heard += tell(told, form, [*again, *tokens(answer, len(ids)), end])
        assert said(heard) == undisturbed
