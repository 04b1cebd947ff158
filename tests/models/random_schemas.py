"""Small JSON Schemas of all that is enforced, each with few texts that fit it."""

from __future__ import annotations

import random
from typing import Any

_WORDS = ("red", "green", "naïve", "日本", 'a "b"', "x/y")
_PATTERNS = ("^[a-z]{2,5}$", "^[A-F0-9]{4}$", "^(north|south)-[0-9]{1,2}$", "^\\d{3}\\.\\d$")


def random_schema(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    """A schema up to three levels deep, without an answer of more than some hundred tokens."""
    if depth == 0 and chance.random() < 0.2:
        point = random_schema(chance, depth=1)
        return {
            "type": "array",
            "items": {"$ref": "#/$defs/point"},
            "maxItems": 2,
            "$defs": {"point": point},
        }
    if depth < 2 and chance.random() < 0.6:
        return _random_object(chance, depth)
    return chance.choice((_text, _number, _plain, _array))(chance, depth)


def _random_object(chance: random.Random, depth: int) -> dict[str, Any]:
    names = chance.sample(("name", "age", "tags", "größe", "is ok", "a/b"), chance.randint(1, 3))
    return {
        "type": "object",
        "properties": {name: random_schema(chance, depth + 1) for name in names},
        "required": names[: chance.randint(0, len(names))],
        "additionalProperties": False,
    }


def _text(chance: random.Random, _depth: int) -> dict[str, Any]:
    if chance.random() < 0.5:
        return {"type": "string", "pattern": chance.choice(_PATTERNS)}
    low = chance.randint(0, 3)
    return {"type": "string", "minLength": low, "maxLength": low + chance.randint(0, 8)}


def _number(chance: random.Random, _depth: int) -> dict[str, Any]:
    low = chance.randint(-1000, 1000)
    return {"type": "integer", "minimum": low, "maximum": low + chance.randint(0, 5000)}


def _plain(chance: random.Random, _depth: int) -> dict[str, Any]:
    return chance.choice(
        (
            {"type": "boolean"},
            {"type": ["boolean", "null"]},
            {"enum": [*chance.sample(_WORDS, 2), 7, None]},
            {"const": chance.choice(_WORDS)},
            {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 0, "maximum": 9}]},
        )
    )


def _array(chance: random.Random, depth: int) -> dict[str, Any]:
    low = chance.randint(0, 2)
    return {
        "type": "array",
        "items": random_schema(chance, depth + 1) if depth < 2 else {"type": "boolean"},
        "minItems": low,
        "maxItems": low + chance.randint(0, 2),
    }
