"""The shape of an answer: `response_format`, and the names that other servers have for more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

from ...generated.tokenwire.v1 import sampling_pb2
from ..body import json_type
from ..errors import invalid
from ..fields import Fields, json_text

_FORMATS = ("text", "json_object", "json_schema")
# How vLLM, SGLang and llama.cpp name what the proto has a field for.
_NAMES = {
    "guided_json": "json_schema",
    "json_schema": "json_schema",
    "guided_regex": "regex",
    "regex": "regex",
    "guided_grammar": "ebnf",
    "ebnf": "ebnf",
    "grammar": "ebnf",
    "guided_choice": "choice",
}
_NAMES_IN_STRUCTURED_OUTPUTS = {
    "json": "json_schema",
    "json_object": "json_object",
    "regex": "regex",
    "grammar": "ebnf",
    "choice": "choice",
}
_Constraint = sampling_pb2.Constraint


def decode_constraint(fields: Fields, given: dict[str, str]) -> sampling_pb2.Constraint | None:
    """Reads the one shape that is asked for, None where none is.

    Puts into `given` what the caller named it.

    Raises:
        EdgeError: a field is of the wrong type, not known, or there is more than one shape.
    """
    found = list(_constraints(fields))
    if not found:
        return None
    path, constraint = found[0]
    if len(found) > 1:
        raise invalid(found[1][0], f"goes together with no {path}: an answer has one shape")
    given["constraint"] = path
    return constraint


def _constraints(fields: Fields) -> Iterator[tuple[str, sampling_pb2.Constraint]]:
    yield from _response_format(fields.inner("response_format"))
    for name, kind in _NAMES.items():
        yield from _named(fields, name, kind)
    outputs = fields.inner("structured_outputs")
    for name in outputs.names():
        if name in _NAMES_IN_STRUCTURED_OUTPUTS:
            yield from _named(outputs, name, _NAMES_IN_STRUCTURED_OUTPUTS[name])
        elif outputs.get(name) not in (None, False):
            known = ", ".join(_NAMES_IN_STRUCTURED_OUTPUTS)
            raise invalid(outputs.path_of(name), f"is not supported here; there are {known}")


def _response_format(form: Fields) -> Iterator[tuple[str, sampling_pb2.Constraint]]:
    if not form.names():
        return
    kind = form.optional_choice("type", _FORMATS)
    if kind is None:
        raise invalid(form.path_of("type"), f"is required and must be one of {', '.join(_FORMATS)}")
    if kind == "json_schema":
        schema = form.inner("json_schema")
        if schema.get("schema") is None:
            raise invalid(schema.path_of("schema"), "is required and must be a JSON schema")
        yield from _named(schema, "schema", "json_schema")
    elif kind == "json_object" and form.get("schema") is not None:  # as llama.cpp takes it
        yield from _named(form, "schema", "json_schema")
    elif kind == "json_object":
        yield form.path_of("type"), _Constraint(json_object=True)


def _named(fields: Fields, name: str, kind: str) -> Iterator[tuple[str, sampling_pb2.Constraint]]:
    if fields.get(name) is not None and (constraint := _READERS[kind](fields, name)) is not None:
        yield fields.path_of(name), constraint


def _json_schema(fields: Fields, name: str) -> sampling_pb2.Constraint:
    value = fields.get(name)
    if isinstance(value, str):
        return _Constraint(json_schema=value)
    if isinstance(value, dict | bool):
        return _Constraint(json_schema=json_text(cast("object", value), fields.path_of(name)))
    raise invalid(fields.path_of(name), f"must be a JSON schema, got {json_type(value)}")


def _json_object(fields: Fields, name: str) -> sampling_pb2.Constraint | None:
    return _Constraint(json_object=True) if fields.optional_boolean(name) else None


def _choice(fields: Fields, name: str) -> sampling_pb2.Constraint:
    if not isinstance(fields.get(name), list):
        raise invalid(fields.path_of(name), "must be an array of strings")
    values = fields.optional_strings(name)
    return _Constraint(choice=_Constraint.Choice(values=values))


_READERS: dict[str, Callable[[Fields, str], sampling_pb2.Constraint | None]] = {
    "json_schema": _json_schema,
    "json_object": _json_object,
    "regex": lambda fields, name: _Constraint(regex=fields.string(name)),
    "ebnf": lambda fields, name: _Constraint(ebnf=fields.string(name)),
    "choice": _choice,
}
