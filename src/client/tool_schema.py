"""A Python function as a tool: its signature becomes JSON Schema, its docstring the description."""

from __future__ import annotations

import enum
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from ..generated.tokenwire.v1 import chat_pb2

Schema = dict[str, Any]  # JSON
_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_ARGUMENT = re.compile(r"\s*\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.*)")
_SECTION = re.compile(r"^\s*(Args|Arguments|Returns|Yields|Raises|Example|Examples|Note):\s*$")


def tool_of(function: Callable[..., Any]) -> chat_pb2.Tool:
    """Describes a function for the model.

    The docstring is the description; in it `Args:` describe the parameters, which
    `Annotated[str, "..."]` does as well. A parameter without a default is required.

        def weather(city: Annotated[str, "name, in English"], unit: Literal["C", "F"] = "C"):
            '''Tells the weather of a city.'''

    Raises:
        TypeError: a parameter has no annotation, or one that JSON has nothing for.
    """
    name = name_of(function)
    description, arguments = _read_docstring(inspect.getdoc(function) or "")
    hints = typing.get_type_hints(function, include_extras=True)
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{name}: *{parameter.name} has no name that a model could give")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise TypeError(f"{name}: {parameter.name} cannot be given by name")
        if parameter.name not in hints:
            raise TypeError(f"{name}: {parameter.name} has no annotation")
        try:
            schema = schema_of(hints[parameter.name])
        except TypeError as error:
            raise TypeError(f"{name}: {parameter.name}: {error}") from None
        if parameter.name in arguments:
            schema.setdefault("description", arguments[parameter.name])
        properties[parameter.name] = schema
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    parameters = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    return chat_pb2.Tool(
        name=name, description=description, parameters_schema=json.dumps(parameters)
    )


def name_of(function: Callable[..., Any]) -> str:
    """Returns the name by which the model calls a function."""
    return str(getattr(function, "__name__", type(function).__name__))


def schema_of(kind: Any) -> Schema:
    """Returns the JSON Schema of an annotation.

    Raises:
        TypeError: JSON has nothing for it.
    """
    # Any: annotations have no type of their own.
    if kind is Any:
        return {}
    if isinstance(kind, type) and kind in _NAMES:
        return {"type": _NAMES[kind]}
    origin, parts = get_origin(kind), get_args(kind)
    if origin is typing.Annotated:
        schema = schema_of(parts[0])
        texts = [part for part in parts[1:] if isinstance(part, str)]
        return schema | ({"description": texts[0]} if texts else {})
    if origin is Literal:
        return {"enum": list(parts)}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(part) for part in parts]}
    if kind in (list, Sequence) or origin in (list, Sequence):
        return {"type": "array"} | ({"items": schema_of(parts[0])} if parts else {})
    if kind in (dict, Mapping) or origin in (dict, Mapping):
        if parts and parts[0] is not str:
            raise TypeError(f"the keys of {kind} must be str")
        return {"type": "object"} | ({"additionalProperties": schema_of(parts[1])} if parts else {})
    raise TypeError(f"{kind} has no JSON Schema here")


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Splits a docstring into its description and the texts of its arguments."""
    description: list[str] = []
    arguments: dict[str, str] = {}
    section = last = ""
    for line in text.splitlines():
        if heading := _SECTION.match(line):
            section = heading[1]
        elif not section:
            description.append(line.strip())
        elif section in ("Args", "Arguments") and line.strip():
            indent = len(line) - len(line.lstrip())
            match = _ARGUMENT.match(line)
            if match and (not last or indent <= 4):
                last = match[1]
                arguments[last] = match[2].strip()
            elif last:
                arguments[last] = f"{arguments[last]} {line.strip()}".strip()
    return "\n".join(description).strip(), arguments
