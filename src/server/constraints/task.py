"""What the front and the process that tries constraints say to each other, a JSON line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec


class _Word(msgspec.Struct, frozen=True, tag=True):
    """One task, or the answer of the same number."""

    number: int


class Check(_Word, frozen=True):
    """Write a constraint as a grammar, and try it."""

    kind: str
    texts: tuple[str, ...]


class Compare(_Word, frozen=True):
    """Say whether a text fits a grammar."""

    grammar: str
    text: str


class Checked(_Word, frozen=True):
    """The grammar of a good constraint."""

    grammar: str


class Refused(_Word, frozen=True):
    """Why a constraint is bad."""

    reason: str


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a text is a beginning of what a grammar asks for, and whether it is all of it."""

    is_beginning: bool
    is_whole: bool


class Compared(_Word, frozen=True):
    """How the text stands to the grammar."""

    fit: Fit


Task = Check | Compare
Answer = Checked | Refused | Compared

TASKS: Final[msgspec.json.Decoder[Task]] = msgspec.json.Decoder(Task)
ANSWERS: Final[msgspec.json.Decoder[Answer]] = msgspec.json.Decoder(Answer)


def write_line(word: Task | Answer) -> bytes:
    """Writes a task or an answer, with the end of its line."""
    return msgspec.json.encode(word) + b"\n"
