"""How every engine keeps to a constraint."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
import pytest_asyncio
from tokenwire.server.constraints.checker import ConstraintChecker
from tokenwire.server.contract.constraint import ALL_KINDS, Constraint, ConstraintKind
from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.events import FinishReason

from .generation import GREEDY, PARIS, RANDOM, Answer, Contract, drain, request_for

CITY: Any = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Paris", "Lyon", "Café ☕"]},
        "year": {"type": "integer", "minimum": 1000, "maximum": 2100},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 6}, "maxItems": 2},
        "next": {"anyOf": [{"$ref": "#/$defs/point"}, {"type": "null"}]},
    },
    "required": ["city", "year", "tags", "next"],
    "additionalProperties": False,
    "$defs": {"point": {"type": "string", "pattern": "^[A-F][0-9]{2}$"}},
}


class ConstraintContract(Contract):
    """How every engine keeps to a constraint."""

    @pytest_asyncio.fixture(loop_scope="session")
    async def checker(self) -> AsyncIterator[ConstraintChecker]:
        checker = ConstraintChecker()
        yield checker
        await checker.close()

    async def test_takes_every_kind_of_constraint(self, engine: Engine) -> None:
        """The engine says that it takes every kind."""
        assert engine.info.capabilities.constraints == ALL_KINDS

    @pytest.mark.parametrize("seed", [1, 2, 3])
    async def test_constraint_json_schema(
        self, engine: Engine, checker: ConstraintChecker, seed: int
    ) -> None:
        """The answer parses, and the schema describes it."""
        constraint = Constraint(ConstraintKind.JSON_SCHEMA, (json.dumps(CITY),))
        answer = await constrained(engine, checker, constraint, seed=seed, max_tokens=120)
        assert answer.end.reason is FinishReason.EOS
        jsonschema.validate(json.loads(answer.text), CITY)

    async def test_constraint_json_object(self, engine: Engine, checker: ConstraintChecker) -> None:
        """What was written so far is the beginning of an object."""
        constraint = Constraint(ConstraintKind.JSON_OBJECT)
        answer = await constrained(engine, checker, constraint, max_tokens=40)
        assert answer.text.startswith("{")
        assert (await checker.compare(await checker.check(constraint), answer.text)).is_beginning

    async def test_constraint_regex(self, engine: Engine, checker: ConstraintChecker) -> None:
        """The expression matches the answer as a whole, which ends with it."""
        constraint = Constraint(ConstraintKind.REGEX, ("[A-Z][a-z]{2,8}/[0-9]{4}é?",))
        answer = await constrained(engine, checker, constraint)
        assert re.fullmatch("[A-Z][a-z]{2,8}/[0-9]{4}é?", answer.text)
        assert answer.end.reason is FinishReason.EOS

    async def test_constraint_ebnf(self, engine: Engine, checker: ConstraintChecker) -> None:
        """The answer is one of the grammar, recursion included."""
        grammar = 'root ::= "<" root ">" | [0-9]{1,3} | "é\\""'
        constraint = Constraint(ConstraintKind.EBNF, (grammar,))
        answer = await constrained(engine, checker, constraint, max_tokens=64)
        fit = await checker.compare(await checker.check(constraint), answer.text)
        assert fit.is_beginning
        assert fit.is_whole or answer.end.reason is FinishReason.LENGTH

    async def test_constraint_choice(self, engine: Engine, checker: ConstraintChecker) -> None:
        """The answer is one of the choices, whatever is special in them, beside other callers."""
        choices = ("Rome", 'Oslo ("N")', "<|im_end|>\n|", "日本")
        constraint = Constraint(ConstraintKind.CHOICE, choices)
        answers = await asyncio.gather(
            *(constrained(engine, checker, constraint, seed=seed) for seed in range(6))
        )
        assert {answer.text for answer in answers} <= set(choices)
        assert {answer.end.reason for answer in answers} == {FinishReason.EOS}


async def constrained(
    engine: Engine,
    checker: ConstraintChecker,
    constraint: Constraint,
    *,
    seed: int | None = None,
    max_tokens: int = 32,
) -> Answer:
    """What an engine says under a constraint: greedily, or by chance where there is a seed."""
    params = replace(GREEDY, max_tokens=max_tokens)
    if seed is not None:
        kept = seed if engine.info.capabilities.seeds else None
        params = replace(RANDOM, max_tokens=max_tokens, seed=kept, ignore_eos=False)
    request = request_for(await engine.render(PARIS), params)
    grammar = await checker.check(constraint)
    return await drain(engine.generate(replace(request, constraint=grammar)))
