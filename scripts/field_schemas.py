"""JSON Schemas of single values, with the bounds that the protos set."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from tokenwire.generated.buf.validate import validate_pb2

Schema = dict[str, Any]

_INT32 = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
_UINT32 = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
# Canonical JSON writes 64-bit integers as text, and reads both.
_INT64 = {"type": ["string", "integer"], "format": "int64"}
_FLOAT32_MAX = 3.4e38
_FLOAT = {"type": "number", "minimum": -_FLOAT32_MAX, "maximum": _FLOAT32_MAX}
_SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_FLOAT: _FLOAT,
    FieldDescriptor.TYPE_DOUBLE: {"type": "number"},
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_UINT64: _INT64,
}


def scalar_schema(field: FieldDescriptor) -> Schema:
    """Returns the schema of a value that is no message and no enum."""
    return dict(_SCALARS[field.type])


def enum_schema(enum: EnumDescriptor, rules: validate_pb2.FieldRules) -> Schema:
    """Returns the names of an enum that may be used."""
    refused = set(rules.enum.not_in)
    names = [value.name for value in enum.values if value.number not in refused]
    return {"type": "string", "enum": names}


def bounded_value(schema: Schema, rules: validate_pb2.FieldRules) -> Schema:
    """Adds a field's own rules to the schema of its type."""
    text, number = rules.string, rules.int32 if rules.HasField("int32") else rules.float
    bounds: Schema = {}
    if text.HasField("min_len"):
        bounds["minLength"] = text.min_len
    if text.HasField("max_len"):
        bounds["maxLength"] = text.max_len
    if number.HasField("gte"):
        bounds["minimum"] = number.gte
    if number.HasField("lte"):
        bounds["maximum"] = number.lte
    if rules.bool.HasField("const"):
        bounds["const"] = rules.bool.const
    return {**schema, **bounds}


def bounded_map(values: Schema, field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Schema:
    """Returns the schema of a map, whose keys JSON writes as text."""
    schema: Schema = {"type": "object", "additionalProperties": values}
    key = field.message_type.fields_by_name["key"] if field.message_type else None
    if key is not None and key.type == FieldDescriptor.TYPE_UINT32:
        schema["propertyNames"] = {"pattern": "^[0-9]{1,9}$"}
    if rules.map.HasField("max_pairs"):
        schema["maxProperties"] = rules.map.max_pairs
    return schema
