"""Why a constraint is refused, and the bounds that several kinds share."""

from __future__ import annotations

from typing import Final

MAX_REPETITIONS: Final = 65_536
"""Most times that anything may be asked for again: more than an answer has tokens."""

MAX_REASON_CHARACTERS: Final = 300


class BadConstraint(Exception):
    """A constraint that cannot be used. The message is for its caller: the place and the reason."""

    def __init__(self, reason: str, place: str = "") -> None:
        if len(reason) > MAX_REASON_CHARACTERS:
            reason = f"{reason[:MAX_REASON_CHARACTERS]}…"
        super().__init__(f"{reason} ({place})" if place else reason)
        self.reason = reason
        self.place = place


def check_repetitions(count: int, place: str) -> None:
    """Raises `BadConstraint` for a number of repetitions above the limit."""
    if count > MAX_REPETITIONS:
        raise BadConstraint(f"may repeat something {MAX_REPETITIONS} times, got {count}", place)


def line_and_column(text: str, position: int) -> str:
    """Tells where a position in a text is, both counted from 1."""
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return f"line {line}, column {column}"
