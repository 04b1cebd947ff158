"""JSON Schema documents, bounded and with every reference inside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import orjson

from .bad_constraint import BadConstraint, check_repetitions
from .json_values import Json, as_list, as_object, find_target, join_pointer
from .schema_ends import find_endless

MAX_DEPTH: Final = 64
MAX_VALUES: Final = 16_384
"""Most numbers, texts, lists and so on in one document."""

MAX_PROPERTIES: Final = 256
MAX_ENUM_VALUES: Final = 1_024
MAX_ALTERNATIVES: Final = 128

_ONE: Final = (
    "additionalItems", "additionalProperties", "contains", "else", "if", "items", "not",
    "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
_NAMED: Final = ("dependentSchemas", "patternProperties", "properties")
_SEVERAL: Final = ("allOf", "anyOf", "items", "oneOf", "prefixItems")
_LISTS: Final = ("allOf", "anyOf", "enum", "oneOf", "prefixItems", "required")
_COUNTS: Final = (
    "maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties",
)  # fmt: skip
_TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")

# One space behind each comma and colon, as models write it. Free white space lets a small model
# write blanks until its tokens are used up.
_FORM: Final = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_FORM_KEY: Final = "x-guidance"


def parse_schema(text: str) -> Json:
    """Reads a document and checks its bounds and its references.

    Raises:
        BadConstraint: it is no JSON Schema, leads outside itself, is too large or too deep, or no
            text of finite length fits it. Names the place by a JSON pointer.
    """
    try:
        schema = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadConstraint(
            f"is no JSON: {error.msg}", f"line {error.lineno}, column {error.colno}"
        ) from error
    _check_size(schema)
    schemas = dict(_walk(schema))
    for place, found in schemas.items():
        _check(found, place)
    endless = find_endless(schema, schemas)
    if endless is not None:
        raise BadConstraint("asks for itself without an end", endless)
    return schema


def json_rule(schema: Json) -> str:
    """Writes a schema as a part of a rule: `start: ` and this are a grammar.

    Tools may use it for the arguments of a call. The schema should come from `parse_schema`.
    """
    form = {_FORM_KEY: _FORM}
    # True stands for any value, and False for none.
    formed = False if schema is False else as_object(schema) | form
    return "%json " + orjson.dumps(formed).decode()


def find_patterns(document: Json) -> Iterator[tuple[str, str]]:
    """Yields the regular expressions of a document that `parse_schema` took, with their places."""
    for place, schema in _walk(document):
        pattern = as_object(schema).get("pattern")
        if isinstance(pattern, str):
            yield join_pointer(place, "pattern"), pattern


def children(schema: Json, place: str) -> Iterator[tuple[str, Json]]:
    """Yields the schemas that stand in a schema, with their places."""
    found = as_object(schema)
    for key in _ONE:
        if isinstance(found.get(key), dict | bool):
            yield join_pointer(place, key), found[key]
    for key in _NAMED:
        for name, child in as_object(found.get(key)).items():
            yield join_pointer(place, key, name), child
    for key in _SEVERAL:
        for index, child in enumerate(as_list(found.get(key))):
            yield join_pointer(place, key, str(index)), child


def _check_size(document: Json) -> None:
    level, depth, num_values = [document], 0, 1
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise BadConstraint(f"may be {MAX_DEPTH} levels deep, and is deeper")
        below: list[Json] = []
        for value in level:
            below += as_object(value).values() or as_list(value)
        num_values += len(below)
        if num_values > MAX_VALUES:
            raise BadConstraint(f"may hold {MAX_VALUES} values, and holds more")
        level = below


def _walk(document: Json) -> Iterator[tuple[str, Json]]:
    """Yields each schema once, with its place; those that are referred to where they stand."""
    seen: set[str] = set()
    left = [("", document)]
    while left:
        place, schema = left.pop()
        if place in seen:
            continue
        seen.add(place)
        yield place, schema
        left.extend(children(schema, place))
        if "$ref" in as_object(schema):
            left.append(find_target(document, schema["$ref"], place))


def _check(found: Json, place: str) -> None:
    if isinstance(found, bool):
        return
    if not isinstance(found, dict):
        raise BadConstraint("a schema is an object", place or "/")
    schema = as_object(found)
    if _FORM_KEY in schema:
        raise BadConstraint(f"'{_FORM_KEY}' is set by the server alone", place or "/")
    _check_shapes(schema, place)
    _check_type(schema.get("type"), place)
    for key, limit in (
        ("enum", MAX_ENUM_VALUES),
        ("properties", MAX_PROPERTIES),
        ("patternProperties", MAX_PROPERTIES),
        *((key, MAX_ALTERNATIVES) for key in _SEVERAL),
    ):
        num_entries = len(as_object(schema.get(key)) or as_list(schema.get(key)))
        if num_entries > limit and key != "items":
            raise BadConstraint(
                f"may have {limit} entries, has {num_entries}", join_pointer(place, key)
            )
    for key in _COUNTS:
        check_repetitions(int(min(schema.get(key, 0), 1e18)), join_pointer(place, key))


def _check_shapes(schema: dict[str, Json], place: str) -> None:
    for keys, kind, name in (
        (_NAMED, dict, "an object"),
        (_LISTS, list, "a list"),
        (_COUNTS, int | float, "a number"),
    ):
        for key in keys:
            if key in schema and not isinstance(schema[key], kind):
                raise BadConstraint(f"must be {name}", join_pointer(place, key))
    if not all(isinstance(name, str) for name in schema.get("required", ())):
        raise BadConstraint("must be a list of texts", join_pointer(place, "required"))


def _check_type(named: Json, place: str) -> None:
    for name in as_list(named) or [named]:
        if name is not None and name not in _TYPES:
            known = ", ".join(_TYPES)
            raise BadConstraint(f"a type is one of {known}", join_pointer(place, "type"))
