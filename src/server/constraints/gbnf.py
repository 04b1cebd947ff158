"""GBNF, the EBNF of llama.cpp and xgrammar, read into a tree.

    root  ::= item ("," item)*   # a comment
    item  ::= [a-z]+ | "x"{2,3} | .

A rule ends with its line, unless it is inside parentheses or the next line begins with `|`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from .bad_constraint import BadConstraint, check_repetitions, line_and_column

MAX_RULES: Final = 512
MAX_NESTED_GROUPS: Final = 32
MAX_ALTERNATIVES: Final = 1_024

_SPACE: Final = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_SPACE_AND_LINES: Final = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_REPETITION: Final = re.compile(r"\{\s*(\d{1,9})\s*(?:(,)\s*(\d{1,9})?\s*)?\}")
_HEX_ESCAPE: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8}))")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"} | {char: char for char in '\\"[]-^'}


@dataclass(frozen=True, slots=True)
class Literal:
    """A text as it stands."""

    text: str


@dataclass(frozen=True, slots=True)
class CharacterClass:
    """One character: in one of the ranges, or in none of them. Without ranges negated: any."""

    ranges: tuple[tuple[str, str], ...]
    is_negated: bool


@dataclass(frozen=True, slots=True)
class Reference:
    """Another rule's name, and where it is mentioned."""

    name: str
    position: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """One behind the other; none: the empty text."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """Any of these."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same thing `low` to `high` times; None: without end."""

    item: Node
    low: int
    high: int | None


Node = Literal | CharacterClass | Reference | Sequence | Alternatives | Repeat


def parse_gbnf(text: str) -> dict[str, Node]:
    """Reads the rules of a grammar, by name and in their order.

    Raises:
        BadConstraint: a mistake, with its line and column, or more than the bounds allow.
    """
    return _Parser(text).parse()


class _Parser:
    """Reads from `_at` on."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._num_groups = 0

    def parse(self) -> dict[str, Node]:
        rules: dict[str, Node] = {}
        self._skip(_SPACE_AND_LINES)
        while self._at < len(self._text):
            start = self._at
            name = self._match(_NAME)
            if name is None:
                self._refuse("expected the name of a rule")
            if name[0] in rules:
                self._refuse(f"the rule '{_short(name[0])}' is there twice", start)
            self._skip(_SPACE)
            if not self._text.startswith("::=", self._at):
                self._refuse("expected ::=")
            self._at += 3
            self._skip(_SPACE_AND_LINES)
            rules[name[0]] = self._alternatives()
            if len(rules) > MAX_RULES:
                self._refuse(f"has more than {MAX_RULES} rules", start)
            if self._peek() not in ("", "\r", "\n"):
                self._refuse("this belongs to nothing")
            self._skip(_SPACE_AND_LINES)
        return rules

    def _alternatives(self) -> Node:
        items = [self._sequence()]
        while self._goes_on():
            self._at += 1
            self._skip(_SPACE_AND_LINES)
            items.append(self._sequence())
            if len(items) > MAX_ALTERNATIVES:
                self._refuse(f"has more than {MAX_ALTERNATIVES} alternatives")
        return items[0] if len(items) == 1 else Alternatives(tuple(items))

    def _goes_on(self) -> bool:
        """Whether the next thing, on a line below, too, is another alternative."""
        space = _SPACE_AND_LINES.match(self._text, self._at)
        assert space is not None  # it matches nothing, too
        if self._text.startswith("|", space.end()):
            self._at = space.end()
            return True
        return False

    def _sequence(self) -> Node:
        items: list[Node] = []
        while (item := self._item()) is not None:
            self._skip_within()
            while (repeated := self._repeat(item)) is not None:
                item = repeated
                self._skip_within()
            items.append(item)
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _item(self) -> Node | None:
        start = self._at
        match self._peek():
            case '"':
                self._at += 1
                return Literal("".join(self._characters('"', "this text has no end")))
            case "[":
                return self._character_class()
            case ".":
                self._at += 1
                return CharacterClass((), is_negated=True)
            case "(":
                return self._group()
            case _:
                name = self._match(_NAME)
                return None if name is None else Reference(name[0], start)

    def _group(self) -> Node:
        start = self._at
        self._num_groups += 1
        if self._num_groups > MAX_NESTED_GROUPS:
            self._refuse(f"has more than {MAX_NESTED_GROUPS} groups in each other")
        self._at += 1
        self._skip(_SPACE_AND_LINES)
        node = self._alternatives()
        self._skip(_SPACE_AND_LINES)
        if self._peek() != ")":
            self._refuse("this group has no end", start)
        self._at += 1
        self._num_groups -= 1
        return node

    def _repeat(self, item: Node) -> Node | None:
        start = self._at
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        bounds = simple.get(self._peek())
        if bounds is not None:
            self._at += 1
            return Repeat(item, *bounds)
        if self._peek() != "{":
            return None
        found = self._match(_REPETITION)
        if found is None:
            self._refuse("expected {number}, {number,} or {number,number}")
        low = int(found[1])
        high = None if found[2] and not found[3] else int(found[3] or low)
        check_repetitions(max(low, high or 0), line_and_column(self._text, start))
        if high is not None and low > high:
            self._refuse("the smaller number comes first", start)
        return Repeat(item, low, high)

    def _character_class(self) -> Node:
        start = self._at
        self._at += 1
        is_negated = self._peek() == "^"
        self._at += is_negated
        ranges: list[tuple[str, str]] = []
        why = "this class has no end"
        while self._peek() != "]":
            first = last = self._character(why, start)
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] != "]":
                self._at += 1
                last = self._character(why, start)
            if first > last:
                self._refuse("the characters of a range are in the wrong order")
            ranges.append((first, last))
        self._at += 1
        if not ranges:
            self._refuse("this class has no characters", start)
        return CharacterClass(tuple(ranges), is_negated)

    def _characters(self, end: str, why: str) -> list[str]:
        start = self._at - 1
        characters: list[str] = []
        while self._peek() != end:
            characters.append(self._character(why, start))
        self._at += 1
        return characters

    def _character(self, why: str, start: int) -> str:
        """Reads one character of a literal or class that began at `start`."""
        char = self._peek()
        if char in ("", "\n"):
            self._refuse(why, start)
        if char != "\\":
            self._at += 1
            return char
        if (found := self._match(_HEX_ESCAPE)) is not None:
            code = int(found[1] or found[2] or found[3], 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                self._refuse("there is no such character", found.start())
            return chr(code)
        escaped = _ESCAPES.get(self._text[self._at + 1 : self._at + 2])
        if escaped is None:
            self._refuse("there is no such escape")
        self._at += 2
        return escaped

    def _skip_within(self) -> None:
        """Skips what may stand between the parts of a sequence."""
        self._skip(_SPACE_AND_LINES if self._num_groups else _SPACE)

    def _skip(self, space: re.Pattern[str]) -> None:
        self._match(space)

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _refuse(self, why: str, position: int | None = None) -> NoReturn:
        at = self._at if position is None else position
        raise BadConstraint(why, line_and_column(self._text, at))


def references(node: Node) -> list[Reference]:
    """Finds the mentions of rules in a tree, in their order."""
    match node:
        case Reference():
            return [node]
        case Sequence(items) | Alternatives(items):
            return [found for item in items for found in references(item)]
        case Repeat(item):
            return references(item)
        case _:
            return []


def can_end(node: Node, ends: Callable[[str], bool]) -> bool:
    """Whether a tree has a text of finite length, where `ends` tells it of rules."""
    match node:
        case Reference(name):
            return ends(name)
        case Sequence(items):
            return all(can_end(item, ends) for item in items)
        case Alternatives(items):
            return any(can_end(item, ends) for item in items)
        case Repeat(item, low):
            return low == 0 or can_end(item, ends)
        case _:
            return True


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:40]}…"
