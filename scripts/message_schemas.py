"""JSON Schemas of messages, from their descriptors and the comments in the protos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from descriptors import FIELDS, Source
from field_schemas import Schema, bounded_map, bounded_value, enum_schema, scalar_schema
from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor
from tokenwire.generated.buf.validate import validate_pb2

_PACKAGE = "tokenwire.v1."
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Struct": {"type": "object"},
}
# What a rule of the protos says in CEL, which no schema can: moved into them where `clamp` is set.
_RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "Sampling": {
        "temperature": (0, 2),
        "topP": (0, 1),
        "topK": (0, 1_000_000),
        "minP": (0, 1),
        "repetitionPenalty": (0.01, 2),
        "presencePenalty": (-2, 2),
        "frequencyPenalty": (-2, 2),
    }
}
Comments = Mapping[str, str]


def field_comments(sources: Mapping[str, Source]) -> dict[str, str]:
    """Returns what the protos say about each field, by the message's and the field's names."""
    return {
        f"{name}.{field.name}": source.comment(*path, FIELDS, index)
        for source in sources.values()
        for name, message, path in source.messages()
        for index, field in enumerate(message.field)
    }


def message_schemas(
    requests: Iterable[Descriptor], responses: Iterable[Descriptor], comments: Comments
) -> dict[str, Schema]:
    """Returns the schemas of the messages and of all that they hold, by name.

    A request has no other fields than those that can be used; a response may get new ones.
    """
    schemas: dict[str, Schema] = {}
    asked, answered = list(requests), list(responses)
    while asked or answered:
        is_request = bool(asked)
        message = (asked or answered).pop()
        name = schema_name(message)
        if name not in schemas:
            schemas[name] = _message(message, comments, is_request=is_request)
            (asked if is_request else answered).extend(_held_messages(message))
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


def _options(field: FieldDescriptor) -> Any:
    # Any: protoc types an extension as a plain descriptor, without its type.
    options: Any = field.GetOptions()
    return options.Extensions


def _message(message: Descriptor, comments: Comments, *, is_request: bool) -> Schema:
    name = schema_name(message)
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for field in message.fields:
        rules: validate_pb2.FieldRules = _options(field)[validate_pb2.field]
        schema = _field(field, rules)
        if comment := comments.get(f"{name}.{field.name}"):
            schema["description"] = comment
        properties[field.json_name] = schema
        if _is_required(field, rules):
            required.append(field.json_name)
    described: Schema = {"type": "object", "properties": properties}
    if is_request:
        described["additionalProperties"] = False
    if required:
        described["required"] = required
    if choices := [_choice(oneof) for oneof in message.oneofs if len(oneof.fields) > 1]:
        described["allOf"] = choices
    if ranges := _RANGES.get(name):
        within = {key: {"minimum": low, "maximum": high} for key, (low, high) in ranges.items()}
        described["if"] = {"required": ["clamp"], "properties": {"clamp": {"const": True}}}
        described["else"] = {"properties": within}
    return described


def _is_required(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> bool:
    if field.containing_oneof is not None:
        return False
    return bool(rules.string.min_len or rules.repeated.min_items or rules.enum.not_in)


def _choice(oneof: OneofDescriptor) -> Schema:
    """Returns that one field of a oneof is set, or at most one where the proto demands none."""
    options: Any = oneof.GetOptions()  # Any: as above
    alternatives: list[Schema] = [{"required": [field.json_name]} for field in oneof.fields]
    if not options.Extensions[validate_pb2.oneof].required:
        alternatives.append({"not": {"anyOf": list(alternatives)}})
    return {"oneOf": alternatives}


def _field(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Schema:
    value = _map_value(field)
    if value is not None:
        return bounded_map(_single(value, rules.map.values), field, rules)
    if not field.is_repeated:
        return _single(field, rules)
    schema: Schema = {"type": "array", "items": _single(field, rules.repeated.items)}
    if rules.repeated.HasField("max_items"):
        schema["maxItems"] = rules.repeated.max_items
    if rules.repeated.HasField("min_items"):
        schema["minItems"] = rules.repeated.min_items
    return schema


def _single(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Schema:
    if field.enum_type is not None:
        return enum_schema(field.enum_type, rules)
    if field.message_type is None:
        return bounded_value(scalar_schema(field), rules)
    if field.message_type.full_name == "google.protobuf.Duration":
        is_positive = rules.duration.HasField("gt") or rules.duration.HasField("gte")
        sign = "" if is_positive else "-?"
        pattern = rf"^{sign}[0-9]{{1,9}}(\.[0-9]{{1,9}})?s$"
        return {"type": "string", "pattern": pattern, "examples": ["1.5s"]}
    known = _WELL_KNOWN.get(field.message_type.full_name)
    return dict(known or reference(schema_name(field.message_type)))


def _map_value(field: FieldDescriptor) -> FieldDescriptor | None:
    """Returns the value field of a map's entries, None for a field that is no map."""
    entry = field.message_type
    is_map = entry is not None and entry.GetOptions().map_entry
    return entry.fields_by_name["value"] if entry is not None and is_map else None
