"""Every kind of constraint, written as a grammar of llguidance, which llama.cpp and SGLang take.

Its syntax is that of Lark with additions: docs/syntax.md of github.com/guidance-ai/llguidance.
"""

from __future__ import annotations

import json
from typing import Final

import orjson

from ..contract.constraint import Constraint, ConstraintKind
from .gbnf_grammar import gbnf_rules
from .json_schema import json_rule, parse_schema
from .regex import regex_terminal

# llama.cpp tells by this line that a grammar is one of llguidance, and SGLang does, too.
_HEADER: Final = "%llguidance {}\n"


def write_grammar(constraint: Constraint) -> str:
    """Writes a constraint as a grammar.

    Raises:
        BadConstraint: it has a mistake, or goes beyond a bound.
    """
    return _HEADER + _rules(constraint)


def schema_grammar(schema: str) -> str:
    """Writes the grammar of a JSON Schema that was checked, as `write_grammar` does."""
    return f"{_HEADER}start: {json_rule(orjson.loads(schema))}"


def _rules(constraint: Constraint) -> str:
    match constraint.kind:
        case ConstraintKind.JSON_SCHEMA:
            return f"start: {json_rule(parse_schema(*constraint.texts))}"
        case ConstraintKind.JSON_OBJECT:
            return f"start: {json_rule({'type': 'object'})}"
        case ConstraintKind.REGEX:
            return f"start: {regex_terminal(*constraint.texts)}"
        case ConstraintKind.EBNF:
            return gbnf_rules(*constraint.texts)
        case ConstraintKind.CHOICE:
            texts = (json.dumps(text, ensure_ascii=False) for text in constraint.texts)
            # One terminal, so that no choice hides a longer one.
            return f"start: CHOICE\nCHOICE: {' | '.join(texts)}"
