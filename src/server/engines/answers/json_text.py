"""Strict JSON as models write it, cut out of their text character by character."""

from __future__ import annotations

import json
from typing import Any, Final


class NotJson(ValueError):
    """The text is not the JSON that it should be."""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)
_SPACE: Final = " \t\n\r"


def read_value(text: str, start: int = 0) -> tuple[Any, str, int]:
    """Reads one JSON value behind spaces: the value, its own text, and where it ends.

    Raises:
        NotJson: none begins there, it has no end, or it is nested too deep.
    """
    start = skip_space(text, start)
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from error
    return value, text[start:end], end


def read_members(text: str, start: int = 0) -> tuple[dict[str, str], int]:
    """Reads one JSON object: the text of each member's value, and where the object ends.

    Of a name that comes twice the last one counts, as for JSON parsers.

    Raises:
        NotJson: there is no whole object.
    """
    position = _expect(text, start, "{")
    members: dict[str, str] = {}
    if text[skip_space(text, position) :].startswith("}"):
        return members, skip_space(text, position) + 1
    while True:
        name, _, position = read_value(text, position)
        if not isinstance(name, str):
            raise NotJson("a member has no name")
        position = _expect(text, position, ":")
        _, members[name], position = read_value(text, position)
        position = skip_space(text, position)
        if text[position : position + 1] == "}":
            return members, position + 1
        position = _expect(text, position, ",")


def skip_space(text: str, start: int) -> int:
    """Returns the place of the first character that is no JSON space."""
    while start < len(text) and text[start] in _SPACE:
        start += 1
    return start


def _expect(text: str, start: int, character: str) -> int:
    start = skip_space(text, start)
    if text[start : start + 1] != character:
        raise NotJson(f"no '{character}' at {start}")
    return start + 1
