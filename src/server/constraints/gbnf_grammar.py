"""A GBNF grammar, written as the grammar of llguidance.

There a lexer reads the longest text that fits a terminal, and no shorter one is tried. So that a
grammar means what it says, as much as possible becomes one terminal: every rule that does not
mention itself, however indirectly, and in the others what stands side by side.
"""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Final

from .bad_constraint import BadConstraint, line_and_column
from .gbnf import (
    Alternatives,
    CharacterClass,
    Literal,
    Node,
    Reference,
    Repeat,
    Sequence,
    can_end,
    parse_gbnf,
    references,
)

_ROOT: Final = "root"


def gbnf_rules(text: str) -> str:
    """Writes the rules of a grammar, the first of them `start`.

    Raises:
        BadConstraint: it is not GBNF, mentions a rule that is not there, has no rule `root`, or a
            rule that no text of finite length fits.
    """
    rules = parse_gbnf(text)
    if _ROOT not in rules:
        raise BadConstraint(f"has no rule '{_ROOT}', where every text begins")
    for node in rules.values():
        for mention in references(node):
            if mention.name not in rules:
                raise BadConstraint(
                    "mentions a rule that is not there", line_and_column(text, mention.position)
                )
    flat = _flat_rules(rules)
    _check_ends(text, rules, flat)
    return _Writer(rules, flat).write()


def _flat_rules(rules: dict[str, Node]) -> set[str]:
    """Finds the rules below which none mentions itself (Kahn's algorithm)."""
    mentioned = {name: {found.name for found in references(node)} for name, node in rules.items()}
    users: dict[str, list[str]] = {name: [] for name in rules}
    for name, others in mentioned.items():
        for other in others:
            users[other].append(name)
    num_left = {name: len(others) for name, others in mentioned.items()}
    ready = deque(name for name, count in num_left.items() if count == 0)
    flat: set[str] = set()
    while ready:
        name = ready.popleft()
        flat.add(name)
        for user in users[name]:
            num_left[user] -= 1
            if num_left[user] == 0:
                ready.append(user)
    return flat


def _check_ends(text: str, rules: dict[str, Node], flat: set[str]) -> None:
    ending = set(flat)
    left = [name for name in rules if name not in flat]
    while True:
        found = [name for name in left if can_end(rules[name], ending.__contains__)]
        if not found:
            break
        ending.update(found)
        left = [name for name in left if name not in ending]
    if left:
        found_rule = re.search(rf"(?m)^[ \t]*({re.escape(left[0])})\s*::=", text)
        position = found_rule.start(1) if found_rule else 0
        raise BadConstraint(
            "this rule mentions itself without an end", line_and_column(text, position)
        )


class _Writer:
    """Names are ours: `r0` is a rule, `R0` a terminal, and `T0` one that had no name."""

    def __init__(self, rules: dict[str, Node], flat: set[str]) -> None:
        self._rules = rules
        self._flat = flat
        self._names = {
            name: f"{'R' if name in flat else 'r'}{number}" for number, name in enumerate(rules)
        }
        self._terminals: list[str] = []

    def write(self) -> str:
        lines = [f"start: {self._names[_ROOT]}"]
        for name, node in self._rules.items():
            body = self._terminal(node) if name in self._flat else self._rule(node)
            lines.append(f"{self._names[name]}: {body}")
        return "\n".join([*lines, *self._terminals])

    def _is_flat(self, node: Node) -> bool:
        return all(mention.name in self._flat for mention in references(node))

    def _terminal(self, node: Node) -> str:
        match node:
            case Literal(text):
                return json.dumps(text, ensure_ascii=False)
            case CharacterClass():
                return f"/{_class_expression(node)}/"
            case Reference(name):
                return self._names[name]
            case Sequence(items):
                return " ".join(map(self._terminal, items)) if items else '""'
            case Alternatives(items):
                return f"({' | '.join(map(self._terminal, items))})"
            case Repeat(item, low, high):
                return f"({self._terminal(item)}){_times(low, high)}"

    def _rule(self, node: Node) -> str:
        if self._is_flat(node):
            return self._named(node)
        match node:
            case Sequence(items):
                return " ".join(map(self._rule, self._joined(items)))
            case Alternatives(items):
                return f"({' | '.join(map(self._rule, items))})"
            case Repeat(item, low, high):
                return f"({self._rule(item)}){_times(low, high)}"
            case Reference(name):
                return self._names[name]
            case Literal() | CharacterClass():
                raise AssertionError("what mentions no rule is flat")

    def _joined(self, items: tuple[Node, ...]) -> list[Node]:
        """Puts neighbours together that are one terminal."""
        joined: list[Node] = []
        run: list[Node] = []
        for item in items:
            if self._is_flat(item):
                run.append(item)
                continue
            if run:
                joined.append(Sequence(tuple(run)))
                run = []
            joined.append(item)
        return [*joined, Sequence(tuple(run))] if run else joined

    def _named(self, node: Node) -> str:
        if isinstance(node, Reference):
            return self._names[node.name]
        if node in (Sequence(()), Literal("")):
            return '""'  # no terminal may be nothing but empty
        name = f"T{len(self._terminals)}"
        self._terminals.append(f"{name}: {self._terminal(node)}")
        return name


def _class_expression(node: CharacterClass) -> str:
    if not node.ranges:
        return "(?s:.)"
    ranges = "".join(f"{_code(first)}-{_code(last)}" for first, last in node.ranges)
    return f"[{'^' if node.is_negated else ''}{ranges}]"


def _code(char: str) -> str:
    return f"\\x{{{ord(char):x}}}"


def _times(low: int, high: int | None) -> str:
    return f"{{{low},{'' if high is None else high}}}"
