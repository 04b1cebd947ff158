"""Each bound of a constraint, at its value and one above."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenwire.server.constraints import checker as checker_module
from tokenwire.server.constraints.bad_constraint import MAX_REPETITIONS, BadConstraint
from tokenwire.server.constraints.checker import ConstraintChecker
from tokenwire.server.constraints.gbnf import (
    MAX_ALTERNATIVES as MAX_GBNF_ALTERNATIVES,
)
from tokenwire.server.constraints.gbnf import (
    MAX_NESTED_GROUPS,
    MAX_RULES,
    parse_gbnf,
)
from tokenwire.server.constraints.json_schema import (
    MAX_ALTERNATIVES,
    MAX_DEPTH,
    MAX_ENUM_VALUES,
    MAX_PROPERTIES,
    MAX_VALUES,
    parse_schema,
)
from tokenwire.server.constraints.regex import regex_terminal
from tokenwire.server.constraints.worker import _MAX_MEMORY_BYTES
from tokenwire.server.contract.errors import AtCapacity, InvalidRequest

from .bad_constraints import CROSSED, regex, schema


def refusal(read: Callable[[str], object], text: str) -> str:
    with pytest.raises(BadConstraint) as refused:
        read(text)
    return str(refused.value)


def deep(num_levels: int) -> Any:
    """A document of that many levels."""
    value: Any = 0
    for _ in range(num_levels - 2):
        value = [value]
    return {"const": value}


SCHEMAS: list[tuple[str, int, Callable[[int], Any]]] = [
    ("64 levels deep", MAX_DEPTH, deep),
    # The document, its list, and what is in the list.
    ("16384 values", MAX_VALUES, lambda number: {"const": [0] * (number - 2)}),
    ("256 entries", MAX_PROPERTIES, lambda number: {"properties": named(number)}),
    ("256 entries", MAX_PROPERTIES, lambda number: {"patternProperties": named(number)}),
    ("1024 entries", MAX_ENUM_VALUES, lambda number: {"enum": [*range(number)]}),
    *(
        ("128 entries", MAX_ALTERNATIVES, lambda number, key=key: {key: [{}] * number})
        for key in ("anyOf", "oneOf", "allOf", "prefixItems")
    ),
    *(
        ("65536 times", MAX_REPETITIONS, lambda number, key=key: {key: number})
        for key in ("maxItems", "maxLength", "maxProperties")
    ),
]


def named(number: int) -> dict[str, Any]:
    return {f"p{index}": {} for index in range(number)}


@pytest.mark.parametrize(("words", "limit", "make"), SCHEMAS)
def test_schema_at_its_bounds_and_above(words: str, limit: int, make: Callable[[int], Any]) -> None:
    """A document of just so many is read; one more is refused with the bound."""
    parse_schema(json.dumps(make(limit)))
    assert words in refusal(parse_schema, json.dumps(make(limit + 1)))


GRAMMARS: list[tuple[str, int, Callable[[int], str]]] = [
    ("512 rules", MAX_RULES, lambda number: "\n".join(f'r{i} ::= "a"' for i in range(number))),
    (
        "32 groups",
        MAX_NESTED_GROUPS,
        lambda number: f"root ::= {'(' * number}a{')' * number}",
    ),
    (
        "1024 alternatives",
        MAX_GBNF_ALTERNATIVES,
        lambda number: f"root ::= {' | '.join(['a'] * number)}",
    ),
    ("65536 times", MAX_REPETITIONS, lambda number: f"root ::= a{{{number}}}"),
]


@pytest.mark.parametrize(("words", "limit", "make"), GRAMMARS)
def test_grammar_at_its_bounds_and_above(
    words: str, limit: int, make: Callable[[int], str]
) -> None:
    """A grammar of just so many is read; one more is refused with the bound."""
    parse_gbnf(make(limit))
    assert words in refusal(parse_gbnf, make(limit + 1))


def test_repetitions_of_a_regular_expression() -> None:
    """What is repeated just so often is taken, once more is refused."""
    regex_terminal(f"a{{{MAX_REPETITIONS}}}")
    assert "65536 times, got 65537" in refusal(regex_terminal, f"a{{1,{MAX_REPETITIONS + 1}}}")


async def test_one_more_than_may_wait_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the bound wait for the process, and one more hears that there is no room."""
    monkeypatch.setattr(checker_module, "_MAX_WAITING", 1)
    checker = ConstraintChecker()
    async with checker._turn:
        first = asyncio.ensure_future(checker.check(regex("a")))
        await asyncio.sleep(0)
        with pytest.raises(AtCapacity, match="1 constraints wait"):
            await checker.check(regex("b"))
    assert await first
    assert await checker.check(regex("b"))
    await checker.close()


def virtual_bytes(pid: int) -> int:
    """What counts against the bound of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


async def test_memory_is_bounded() -> None:
    """The process has its bound from the kernel; what takes more is refused, and others go on."""
    checker = ConstraintChecker(max_cpu_s=20.0)
    assert await checker.check(regex("a"))
    pid = checker.pid
    assert pid is not None
    assert resource.prlimit(pid, resource.RLIMIT_AS) == (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES)
    # The same with a bound that is reached at once.
    held = virtual_bytes(pid)
    resource.prlimit(pid, resource.RLIMIT_AS, (held, held))
    with pytest.raises(InvalidRequest, match="too much time or memory"):
        await checker.check(schema(CROSSED))
    assert await checker.check(regex("b"))
    assert checker.pid != pid
    await checker.close()
