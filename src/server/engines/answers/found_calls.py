"""Calls of tools as they are found in an answer, and what makes one believable."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from ...contract.tools import Tool
from .json_text import NotJson, read_members, read_value

Tools = Mapping[str, Tool]
"""The tools of a request by name."""


@dataclass(frozen=True, slots=True)
class FoundCall:
    """A call of a tool that exists. `arguments` is an object, as the JSON text of the model."""

    name: str
    arguments: str


def make_call(name: str, arguments: str, tools: Tools) -> FoundCall:
    """Believes in a call whose tool exists and whose arguments are an object.

    Arguments that are a string with an object in it are that object: some models quote twice.

    Raises:
        NotJson: it is no call.
    """
    if name not in tools:
        raise NotJson("there is no such tool")
    value, text, end = read_value(arguments)
    check_end(arguments, end)
    if isinstance(value, str):
        arguments = value
        value, text, end = read_value(arguments)
        check_end(arguments, end)
    if not isinstance(value, dict):
        raise NotJson("arguments are an object")
    return FoundCall(name, text)


def read_call_object(text: str, start: int, tools: Tools) -> tuple[FoundCall, int]:
    """Reads `{"name": …, "arguments": {…}}`, or `parameters`, and says where it ends.

    Raises:
        NotJson: it is no call.
    """
    members, end = read_members(text, start)
    name, _, _ = read_value(members.get("name", ""))
    if not isinstance(name, str):
        raise NotJson("a name is a string")
    arguments = members.get("arguments", members.get("parameters", "{}"))
    return make_call(name, arguments, tools), end


def make_typed_call(name: str, values: Mapping[str, str], tools: Tools) -> FoundCall:
    """Makes a call of arguments that the model wrote as bare texts, by the types of the schema.

    Raises:
        NotJson: there is no such tool.
    """
    if name not in tools:
        raise NotJson("there is no such tool")
    written = ", ".join(
        f"{json.dumps(key, ensure_ascii=False)}: {_write(value, _types(tools[name], key))}"
        for key, value in values.items()
    )
    return FoundCall(name, f"{{{written}}}")


def check_end(text: str, end: int) -> None:
    """Raises `NotJson` where something other than space follows."""
    if text[end:].strip():
        raise NotJson(f"more than JSON at {end}")


def _write(value: str, types: set[str]) -> str:
    if types != {"string"}:
        try:
            _, text, end = read_value(value)
            check_end(value, end)
        except NotJson:
            pass  # bare text, of which every value of no other kind is a string
        else:
            return text
    return json.dumps(value, ensure_ascii=False)


def _types(tool: Tool, key: str) -> set[str]:
    named = _member(_member(_member(json.loads(tool.parameters_schema), "properties"), key), "type")
    names = cast("Iterable[Any]", named) if isinstance(named, list) else (named,)
    return {name for name in names if isinstance(name, str)}


def _member(value: Any, key: str) -> Any:  # JSON
    return cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
