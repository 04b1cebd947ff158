"""JSON Schemas of messages, from their descriptors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from tokenwire.generated.buf.validate import validate_pb2
from tokenwire.generated.tokenwire.v1 import options_pb2

Schema = dict[str, Any]

_PACKAGE = "tokenwire.v1."
_UINT32_MAX = 2**32 - 1
_INT32 = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
_UINT32 = {"type": "integer", "minimum": 0, "maximum": _UINT32_MAX}
# Canonical JSON writes 64-bit integers as text, and reads both.
_INT64 = {"type": ["string", "integer"], "format": "int64"}
_NUMBER = {"type": "number"}
_SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_FLOAT: _NUMBER,
    FieldDescriptor.TYPE_DOUBLE: _NUMBER,
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_UINT64: _INT64,
}
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Duration": {
        "type": "string",
        "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$",
        "examples": ["1.5s"],
    },
    "google.protobuf.Struct": {"type": "object"},
}


def message_schemas(roots: Iterable[Descriptor]) -> dict[str, Schema]:
    """Returns the schemas of the messages and of all that they hold, by name."""
    schemas: dict[str, Schema] = {}
    waiting = list(roots)
    while waiting:
        message = waiting.pop()
        name = schema_name(message)
        if name not in schemas:
            schemas[name] = _message(message)
            waiting.extend(_held_messages(message))
    return dict(sorted(schemas.items()))


def schema_name(message: Descriptor) -> str:
    """Returns the name of a message's schema."""
    return str(message.full_name).removeprefix(_PACKAGE)


def reference(name: str) -> Schema:
    """Returns a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _held_messages(message: Descriptor) -> list[Descriptor]:
    held: list[Descriptor] = []
    for field in message.fields:
        value = _map_value(field)
        kind = (value or field).message_type
        if kind is not None and kind.full_name.startswith(_PACKAGE):
            held.append(kind)
    return held


def _message(message: Descriptor) -> Schema:
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for field in message.fields:
        # Any: protoc types an extension as a plain descriptor, without its type.
        options: Any = field.GetOptions()
        rules: validate_pb2.FieldRules = options.Extensions[validate_pb2.field]
        schema = _field(field, rules)
        if options.Extensions[options_pb2.planned]:
            schema["description"] = "Not built yet: a request that sets it is refused."
        properties[field.json_name] = schema
        if field.containing_oneof is None and (rules.string.min_len or rules.repeated.min_items):
            required.append(field.json_name)
    described: Schema = {"type": "object", "properties": properties}
    if required:
        described["required"] = required
    choices = [
        " or ".join(f"`{field.json_name}`" for field in oneof.fields)
        for oneof in message.oneofs
        if len(oneof.fields) > 1
    ]
    if choices:
        described["description"] = "At most one of " + "; at most one of ".join(choices) + "."
    return described


def _field(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Schema:
    value = _map_value(field)
    if value is not None:
        schema: Schema = {"type": "object", "additionalProperties": _single(value)}
    elif field.is_repeated:
        schema = {"type": "array", "items": _single(field)}
        if rules.repeated.HasField("max_items"):
            schema["maxItems"] = rules.repeated.max_items
        if rules.repeated.HasField("min_items"):
            schema["minItems"] = rules.repeated.min_items
    else:
        schema = dict(_single(field))
        if rules.string.HasField("min_len"):
            schema["minLength"] = rules.string.min_len
        if rules.string.HasField("max_len"):
            schema["maxLength"] = rules.string.max_len
    return schema


def _single(field: FieldDescriptor) -> Schema:
    if field.enum_type is not None:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    if field.message_type is None:
        return _SCALARS[field.type]
    known = _WELL_KNOWN.get(field.message_type.full_name)
    return known if known is not None else reference(schema_name(field.message_type))


def _map_value(field: FieldDescriptor) -> FieldDescriptor | None:
    """Returns the value field of a map's entries, None for a field that is no map."""
    entry = field.message_type
    is_map = entry is not None and entry.GetOptions().map_entry
    return entry.fields_by_name["value"] if entry is not None and is_map else None
