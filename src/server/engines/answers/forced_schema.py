"""What an answer must be that must call tools."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

from ...contract.tools import Tool


def forced_schema(tools: tuple[Tool, ...], *, only_one: bool) -> str:
    """Writes the JSON Schema of a list of calls, at least one."""
    definitions: dict[str, Any] = {}
    calls: list[Any] = []
    for index, tool in enumerate(tools):
        key = f"tool{index}"
        definitions[key] = _move_references(json.loads(tool.parameters_schema), f"#/$defs/{key}")
        properties = {"name": {"const": tool.name}, "arguments": {"$ref": f"#/$defs/{key}"}}
        calls.append(
            {
                "type": "object",
                "properties": properties,
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    schema: dict[str, Any] = {
        "$defs": definitions,
        "type": "array",
        "items": calls[0] if len(calls) == 1 else {"anyOf": calls},
        "minItems": 1,
    }
    if only_one:
        schema["maxItems"] = 1
    return json.dumps(schema)


def _move_references(schema: Any, root: str) -> Any:  # JSON
    """Points references within a schema to where it stands in a larger one."""
    if isinstance(schema, list):
        return [_move_references(each, root) for each in cast("Iterable[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    return {
        key: f"{root}{value[1:]}"
        if key == "$ref" and isinstance(value, str) and value.startswith("#")
        else _move_references(value, root)
        for key, value in cast("dict[str, Any]", schema).items()
    }
