"""JSON is cut out of text as it stands there, and nothing else is taken for it."""

from __future__ import annotations

import pytest
from tokenwire.server.engines.answers.json_text import NotJson, read_members, read_value


@pytest.mark.parametrize(
    ("text", "value", "own_text"),
    [
        (' {"a": [1.0e2, "}"]} rest', {"a": [100.0, "}"]}, '{"a": [1.0e2, "}"]}'),
        ('\n"é\\n" ', "é\n", '"é\\n"'),
        ("null,", None, "null"),
    ],
)
def test_values(text: str, value: object, own_text: str) -> None:
    """A value comes with its own text, digits and escapes as they were written."""
    found, written, end = read_value(text)
    assert (found, written) == (value, own_text)
    assert text[:end].strip() == own_text


@pytest.mark.parametrize(
    "text", ["", "  ", "{", '{"a": NaN}', "-Infinity", "'a'", '"a\nb"', "[" * 100_000]
)
def test_what_is_no_json(text: str) -> None:
    """Halves, numbers that JSON does not have, bare line ends and endless nesting are refused."""
    with pytest.raises(NotJson):
        read_value(text)


def test_members() -> None:
    """Each member's text is kept; of two of a name the last counts."""
    text = ' { "a" : {"x":  1} ,"b":[ ], "a": 2.50 } behind'
    members, end = read_members(text)
    assert members == {"a": "2.50", "b": "[ ]"}
    assert text[end:] == " behind"
    assert read_members("{ }") == ({}, 3)


@pytest.mark.parametrize("text", ["", "[]", '{"a" 1}', '{"a": 1 "b": 2}', '{"a": 1,}', "{1: 2}"])
def test_what_is_no_object(text: str) -> None:
    """An object has names, colons and commas, each where it belongs."""
    with pytest.raises(NotJson):
        read_members(text)
