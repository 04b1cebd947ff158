"""Constraints are checked in a process of its own, within bounds."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tokenwire.server.constraints.checker import ConstraintChecker
from tokenwire.server.constraints.task import Fit
from tokenwire.server.contract.constraint import Constraint, ConstraintKind
from tokenwire.server.contract.errors import AtCapacity, InvalidRequest

from .bad_constraints import BAD, ebnf, regex, schema

CHOICE = Constraint(ConstraintKind.CHOICE, ("yes", "no"))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def checker() -> AsyncIterator[ConstraintChecker]:
    checker = ConstraintChecker()
    yield checker
    await checker.close()


@pytest.mark.parametrize(
    ("constraint", "part"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
async def test_bad_one_is_refused(
    checker: ConstraintChecker, constraint: Constraint, part: str
) -> None:
    """A bad constraint is refused by its field, with the reason and the place."""
    with pytest.raises(InvalidRequest) as refused:
        await checker.check(constraint)
    ((field, description),) = refused.value.violations
    assert field == f"constraint.{constraint.kind.value}"
    assert part in description
    assert len(description) < 400


async def test_costly_one_ends_the_process_and_no_more() -> None:
    """What the kernel had to end is refused, told again without another try, and others go on."""
    checker = ConstraintChecker(max_cpu_s=0.02)
    assert await checker.check(CHOICE)
    first = checker.pid
    costly = regex("(((a{100}){100}){100}){100}")  # 0.2 s, without the kernel
    for _ in range(2):
        with pytest.raises(InvalidRequest, match=r"constraint\.regex: takes too much time"):
            await checker.check(costly)
        assert checker.pid is None
    assert await checker.check(regex("[a-c]+"))
    assert checker.pid not in (None, first)
    await checker.close()


async def test_process_that_is_killed_is_replaced(checker: ConstraintChecker) -> None:
    """Whoever kills the process, the next constraint gets another one."""
    await checker.check(regex("before"))
    assert checker.pid is not None
    os.kill(checker.pid, signal.SIGKILL)
    with pytest.raises(InvalidRequest, match="takes too much"):
        await checker.check(regex("during"))
    assert await checker.check(regex("after"))


async def test_known_ones_are_not_tried_again(checker: ConstraintChecker) -> None:
    """The second time a constraint costs no process."""
    first = await checker.check(CHOICE)
    await checker.close()
    assert await checker.check(CHOICE) == first
    assert checker.pid is None


async def test_caller_who_leaves_spoils_nothing(checker: ConstraintChecker) -> None:
    """The answer to a caller who left is not taken for the next one's."""
    await checker.check(CHOICE)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await checker.check(regex("leaving[0-9]{3}"))
    assert "staying" in await checker.check(regex("staying[0-9]{3}"))


async def test_too_many_waiting_are_told(checker: ConstraintChecker) -> None:
    """Beyond the callers who wait, the next one is told to come again."""
    results = await asyncio.gather(
        *(checker.check(regex(f"a{{{number}}}")) for number in range(1, 300)),
        return_exceptions=True,
    )
    num_told = sum(isinstance(result, AtCapacity) for result in results)
    assert num_told == 299 - 256
    assert sum(isinstance(result, str) for result in results) == 256


@pytest.mark.parametrize(
    ("constraint", "text", "fit"),
    [
        (CHOICE, "yes", Fit(True, True)),
        (CHOICE, "ye", Fit(True, False)),
        (CHOICE, "yes!", Fit(False, False)),
        (Constraint(ConstraintKind.CHOICE, ("a", "ab")), "ab", Fit(True, True)),
        (Constraint(ConstraintKind.CHOICE, ('é"\\\n\0',)), 'é"\\\n\0', Fit(True, True)),
        (Constraint(ConstraintKind.JSON_OBJECT), '{"a": [1, "é"]}', Fit(True, True)),
        (Constraint(ConstraintKind.JSON_OBJECT), "[1]", Fit(False, False)),
        (schema({"enum": ["x", 1, None]}), "null", Fit(True, True)),
        (schema({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": 5}}}), "5", Fit(True, True)),
        (schema({"type": "string", "pattern": "^[a-z]\\d$"}), '"a1"', Fit(True, True)),
        (schema({"type": "string", "pattern": "^[a-z]\\d$"}), '"a\u0661"', Fit(False, False)),
        (regex("a/b\\d"), "a/b7", Fit(True, True)),
        (regex("a|bc"), "bc", Fit(True, True)),
        (regex("^ab$"), "ab", Fit(True, True)),
        (regex("."), "\n", Fit(False, False)),
        (regex("\0\n"), "\0\n", Fit(True, True)),
        (ebnf('root ::= [a-z]+ "b"'), "abb", Fit(True, True)),
        (ebnf('root ::= ("a" | "ab") "b"'), "ab", Fit(True, True)),
        (ebnf('root ::= "(" root ")" | ""'), "(())", Fit(True, True)),
        (ebnf('root ::= "(" root ")" | ""'), "(()", Fit(True, False)),
        (ebnf('root ::= e\ne ::= [0-9]+ "+" e | [0-9]+'), "1+22", Fit(True, True)),
        (ebnf('root ::= "\\x41\\u00e9\\U0001F600"'), "Aé😀", Fit(True, True)),
        (ebnf('root ::= [^"\\]\\n] .'), "/\n", Fit(True, True)),
        (ebnf('root ::= "a"{2} "b"{1,} "c"{0,1}'), "aabbb", Fit(True, True)),
        (ebnf('root ::= # none\n  "a" # one\n  | # two\n  "b"'), "b", Fit(True, True)),
        (ebnf("root ::= [a-]+ [^^]"), "--x", Fit(True, True)),
    ],
)  # fmt: skip
async def test_texts_fit(
    checker: ConstraintChecker, constraint: Constraint, text: str, fit: Fit
) -> None:
    """A constraint means what its kind says, character by character."""
    assert await checker.compare(await checker.check(constraint), text) == fit


async def test_closed_twice() -> None:
    """A checker that was never asked, or is closed already, closes."""
    checker = ConstraintChecker()
    await checker.close()
    await checker.close()
