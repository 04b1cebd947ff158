"""An answer is divided in one way, however it arrives."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from tokenwire.server.engines.answers.call_formats import CALL_FORMATS
from tokenwire.server.engines.answers.found_calls import FoundCall
from tokenwire.server.engines.answers.splitter import Piece, Splitter, Text, Thought
from tokenwire.server.engines.answers.thinking_formats import THINKING_FORMATS

from .recorded import RECORDED, TOOLS, Recorded

NUM_CUTS = 30


def splitter_for(recorded: Recorded) -> Splitter:
    """Makes what reads a recorded answer."""
    return Splitter(
        TOOLS,
        CALL_FORMATS[recorded.tool_parser],
        THINKING_FORMATS.get(recorded.reasoning_parser),
        begins_in_thought=recorded.begins_in_thought,
    )


def split(recorded: Recorded, parts: Iterable[str]) -> list[Piece]:
    """Reads an answer part by part; neighbouring pieces of one kind are joined."""
    splitter = splitter_for(recorded)
    pieces: list[Piece] = []
    for part in parts:
        pieces += splitter.push(part)
    pieces += splitter.end()
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(last, Text) and isinstance(piece, Text):
            joined[-1] = Text(last.text + piece.text)
        elif isinstance(last, Thought) and isinstance(piece, Thought):
            joined[-1] = Thought(last.text + piece.text)
        else:
            joined.append(piece)
    return joined


def random_parts(text: str, seed: int) -> list[str]:
    """Cuts a text at random places."""
    chance = random.Random(seed)
    places = sorted(chance.sample(range(len(text) + 1), k=min(len(text), 6)))
    return [text[start:end] for start, end in zip([0, *places], [*places, None], strict=True)]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded.name)
def test_recorded_answers(recorded: Recorded) -> None:
    """Text, thinking and calls are what the answer says: whole, by characters, cut anywhere."""
    whole = split(recorded, [recorded.answer])
    assert "".join(piece.text for piece in whole if isinstance(piece, Text)) == recorded.text
    assert "".join(piece.text for piece in whole if isinstance(piece, Thought)) == recorded.thinking
    calls = [(piece.name, piece.arguments) for piece in whole if isinstance(piece, FoundCall)]
    assert calls == list(recorded.calls)
    assert split(recorded, recorded.answer) == whole
    for seed in range(NUM_CUTS):
        assert split(recorded, random_parts(recorded.answer, seed)) == whole


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded.name)
def test_an_answer_cut_short_loses_nothing_but_space(recorded: Recorded) -> None:
    """Wherever the answer ends, a call is told whole or is text, and nothing else is invented."""
    for length in range(len(recorded.answer)):
        cut = recorded.answer[:length]
        pieces = split(recorded, [cut])
        assert pieces == split(recorded, cut)
        calls = [(piece.name, piece.arguments) for piece in pieces if isinstance(piece, FoundCall)]
        assert calls == list(recorded.calls[: len(calls)])
        for piece in splitter_for(recorded).push(cut):
            assert isinstance(piece, FoundCall) or piece.text in cut


def test_text_is_not_held_back_without_need() -> None:
    """What cannot begin a mark is given at once; what can is given once it does not."""
    recorded = Recorded("", "", "hermes")
    splitter = splitter_for(recorded)
    assert list(splitter.push("Hi <tool")) == [Text("Hi")]
    assert list(splitter.push("box")) == [Text(" <toolbox")]
    assert list(splitter.push(">\n")) == [Text(">")]
    assert list(splitter.end()) == [Text("\n")]


def test_a_call_is_told_with_its_last_character() -> None:
    """A call with an end of its own does not wait for the end of the answer."""
    recorded = RECORDED[0]
    splitter = splitter_for(recorded)
    for character in recorded.answer[:-1]:
        assert list(splitter.push(character)) == []
        assert splitter.is_in_call or splitter.num_read == 0
    assert [type(piece) for piece in splitter.push(recorded.answer[-1])] == [FoundCall]
    assert not splitter.is_in_call
