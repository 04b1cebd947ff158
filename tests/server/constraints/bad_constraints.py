"""Constraints that must be refused, and a word of the reason that callers get."""

from __future__ import annotations

import json
from typing import Any, Final

from tokenwire.server.contract.constraint import Constraint, ConstraintKind


def schema(document: Any) -> Constraint:
    text = document if isinstance(document, str) else json.dumps(document)
    return Constraint(ConstraintKind.JSON_SCHEMA, (text,))


def regex(text: str) -> Constraint:
    return Constraint(ConstraintKind.REGEX, (text,))


def ebnf(text: str) -> Constraint:
    return Constraint(ConstraintKind.EBNF, (text,))


def within(**inner: Any) -> dict[str, Any]:
    """A schema deep inside another."""
    return {"type": "object", "properties": {"a": {"type": "array", "items": inner}}}


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        inner = {"type": "object", "properties": {"a": inner}}
    return inner


def doubled(num_rules: int) -> str:
    """A grammar of one text, as long as two to the power of `num_rules`."""
    rules = [f"r{number} ::= r{number + 1} r{number + 1}" for number in range(num_rules)]
    return "\n".join(["root ::= r0", *rules, f'r{num_rules} ::= "a"'])


WITH_ITSELF: Final = {
    "type": "object",
    "properties": {"next": {"$ref": "#"}},
    "required": ["next"],
    "additionalProperties": False,
}
WITH_EACH_OTHER: Final = {
    "$ref": "#/$defs/a",
    "$defs": {
        "a": {"type": "array", "items": {"$ref": "#/$defs/b"}, "minItems": 1},
        "b": {"type": "array", "items": {"$ref": "#/$defs/a"}, "minItems": 1},
    },
}
CROSSED: Final = {
    "allOf": [
        {
            "anyOf": [
                {"type": "object", "properties": {f"p{one}_{two}": {"type": "string"}}}
                for two in range(10)
            ]
        }
        for one in range(8)
    ]
}

BAD: Final[list[tuple[str, Constraint, str]]] = [
    ("schema: half a document", schema('{"type": "object"'), "line 1, column 18"),
    ("schema: no JSON", schema("{'type': 'object'}"), "no JSON"),
    ("schema: not a number", schema('{"minimum": NaN}'), "no JSON"),
    ("schema: a list", schema([1]), "a schema is an object"),
    ("schema: a text", schema('"object"'), "a schema is an object"),
    ("schema: unknown type", schema(within(type="objct")), "/properties/a/items/type"),
    ("schema: type is a number", schema(within(type=5)), "/properties/a/items/type"),
    ("schema: properties is a list", schema({"properties": []}), "/properties"),
    ("schema: required is a text", schema({"required": "a"}), "/required"),
    ("schema: required holds numbers", schema({"required": [1]}), "/required"),
    ("schema: anyOf is an object", schema({"anyOf": {}}), "/anyOf"),
    ("schema: a count is a text", schema({"minItems": "1"}), "/minItems"),
    ("schema: nothing", schema("false"), "false"),
    ("schema: no value", schema({"enum": []}), "Unsatisfiable"),
    ("schema: wrong order", schema({"type": "integer", "minimum": 5, "maximum": 3}), "minimum"),
    ("schema: external", schema({"$ref": "https://example.com/a.json"}), "stays in the document"),
    ("schema: a file", schema({"$ref": "file:///etc/passwd"}), "/$ref"),
    ("schema: relative", schema({"$ref": "other.json#/a"}), "stays in the document"),
    ("schema: metadata address", schema({"$ref": "http://169.254.169.254/"}), "stays in"),
    ("schema: external, deep", schema(within(**{"$ref": "x:y"})), "/properties/a/items/$ref"),
    ("schema: leads to nothing", schema({"$ref": "#/$defs/x"}), "leads to nothing"),
    ("schema: reference is a number", schema({"$ref": 1}), "/$ref"),
    ("schema: itself alone", schema({"$ref": "#"}), "without an end"),
    ("schema: itself, needed", schema(WITH_ITSELF), "without an end (/properties/next)"),
    ("schema: each other", schema(WITH_EACH_OTHER), "without an end"),
    ("schema: allOf itself", schema({"allOf": [{"$ref": "#"}]}), "without an end"),
    ("schema: anyOf itself", schema({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}), "without an end"),
    ("schema: keyword not enforced", schema(within(**{"not": {}})), "/properties/a/items"),
    ("schema: unique items", schema({"type": "array", "uniqueItems": True}), "uniqueItems"),
    ("schema: unknown format", schema({"type": "string", "format": "x"}), "format"),
    ("schema: bad pattern", schema(within(type="string", pattern="(a")), "/properties/a/items"),
    ("schema: look-ahead", schema({"type": "string", "pattern": "(?=a)b"}), "look-around"),
    ("schema: costly pattern", schema(within(pattern="(((a{99}){99}){99}){99}")), "pattern"),
    ("schema: too deep", schema(nested(40)), "64 levels deep"),
    ("schema: far too deep", schema('{"a":' * 10_000 + "1" + "}" * 10_000), "no JSON"),
    ("schema: huge enum", schema({"enum": [f"v{i}" for i in range(5_000)]}), "1024 entries"),
    (
        "schema: many properties",
        schema({"properties": {f"p{i}": {} for i in range(1_000)}}),
        "256 entries",
    ),
    ("schema: many alternatives", schema({"anyOf": [{}] * 200}), "128 entries"),
    ("schema: many values", schema({"const": [0] * 20_000}), "16384 values"),
    ("schema: long texts", schema({"minLength": 10**9}), "/minLength"),
    ("schema: many items", schema(within(maxItems=10**12)), "/properties/a/items/maxItems"),
    ("schema: everything with everything", schema(CROSSED), "too large"),
    ("schema: our own keyword", schema({"x-guidance": {"lenient": True}}), "x-guidance"),
    ("regex: open group", regex("ab(c"), "column 3"),
    ("regex: open class", regex("[a-"), "column 1"),
    ("regex: nothing escaped", regex("abc\\"), "column 4"),
    ("regex: nothing to repeat", regex("*a"), "column 1"),
    ("regex: look-ahead", regex("a(?=b)"), "column 2"),
    ("regex: back-reference", regex("(a)\\1"), "column 4"),
    ("regex: word border", regex("\\bab"), "not supported"),
    ("regex: anchor inside", regex("a^b"), "not supported"),
    ("regex: matches nothing", regex("[^\\s\\S]"), "no text fits it"),
    ("regex: long repetition", regex("a{1000000}"), "column 2"),
    ("regex: catastrophic", regex("(((a{100}){100}){100}){100}"), "too much"),
    ("regex: counters", regex("(?:a?){5000}a{5000}"), "too much"),
    ("regex: deep", regex("(" * 2_000 + "a" + ")" * 2_000), "nested"),
    ("ebnf: no root", ebnf('a ::= "x"'), "'root'"),
    ("ebnf: empty rules", ebnf("# nothing"), "'root'"),
    ("ebnf: other dialect", ebnf('start: "a"'), "line 1, column 6"),
    ("ebnf: ours", ebnf('%llguidance {}\nstart: "a"'), "line 1, column 1"),
    ("ebnf: unknown rule", ebnf('root ::= "a"\n  | b'), "line 2, column 5"),
    ("ebnf: twice", ebnf('root ::= "a"\nroot ::= "b"'), "line 2, column 1"),
    ("ebnf: open text", ebnf('root ::= "a'), "line 1, column 10"),
    ("ebnf: open group", ebnf('root ::= ("a"'), "line 1, column 10"),
    ("ebnf: closed twice", ebnf('root ::= "a")'), "line 1, column 13"),
    ("ebnf: unknown escape", ebnf('root ::= "\\q"'), "line 1, column 11"),
    ("ebnf: no character", ebnf('root ::= "\\uD800"'), "no such character"),
    ("ebnf: range backwards", ebnf("root ::= [z-a]"), "wrong order"),
    ("ebnf: empty class", ebnf("root ::= []"), "no characters"),
    ("ebnf: a token", ebnf("root ::= <think>"), "line 1, column 10"),
    ("ebnf: numbers backwards", ebnf('root ::= "a"{3,2}'), "smaller number"),
    ("ebnf: long repetition", ebnf('root ::= "a"{100000}'), "65536 times"),
    ("ebnf: itself alone", ebnf("root ::= root"), "line 1, column 1"),
    ("ebnf: each other", ebnf('root ::= a\na ::= "x" b\nb ::= "y" a'), "without an end"),
    ("ebnf: deep", ebnf("root ::= " + "(" * 100 + '"a"' + ")" * 100), "32 groups"),
    ("ebnf: many rules", ebnf("\n".join(f'r{i} ::= "a"' for i in range(600))), "512 rules"),
    ("ebnf: many alternatives", ebnf("root ::= " + "|".join(['"a"'] * 2_000)), "1024 alt"),
    ("ebnf: doubled", ebnf(doubled(400)), "too"),
]
"""The name of a case, its constraint, and a part of what its refusal says."""
