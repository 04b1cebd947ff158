"""Which tools the model may or must call, as a program says it."""

from __future__ import annotations

from typing import Any

import pytest
from tokenwire.client import tool_of
from tokenwire.client.tool_choice import after_first_turn, tool_choice_of
from tokenwire.generated.tokenwire.v1 import chat_pb2

REQUIRED = chat_pb2.ToolChoice(mode=chat_pb2.ToolChoice.MODE_REQUIRED)


def weather(city: str) -> str:
    return city


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        ("auto", chat_pb2.ToolChoice(mode=chat_pb2.ToolChoice.MODE_AUTO)),
        ("none", chat_pb2.ToolChoice(mode=chat_pb2.ToolChoice.MODE_NONE)),
        ("required", REQUIRED),
        (REQUIRED, REQUIRED),
        ({"mode": "MODE_REQUIRED"}, REQUIRED),
        (weather, chat_pb2.ToolChoice(name="weather")),
        (tool_of(weather), chat_pb2.ToolChoice(name="weather")),
    ],
)
def test_ways_of_saying_it(said: Any, choice: chat_pb2.ToolChoice) -> None:
    """A word, a function as in `tools`, or the message itself."""
    assert tool_choice_of(said) == choice


@pytest.mark.parametrize(
    ("said", "told"),
    [("weather", "auto, none, required"), (1, "int"), ({"mode": "often"}, "often")],
)
def test_nothing_else_is_taken(said: Any, told: str) -> None:
    """What cannot be a choice is told with what can."""
    with pytest.raises(TypeError, match=told):
        tool_choice_of(said)


def test_later_turns_are_free() -> None:
    """Of the fields of a loop the choice alone is for its first turn."""
    assert after_first_turn({"tool_choice": "required", "temperature": 0}) == {"temperature": 0}
