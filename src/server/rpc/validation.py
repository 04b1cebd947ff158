"""Checks of a request that its proto states."""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any, cast

import protovalidate
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from ...item_limits import describe_excess, max_items_of
from ..contract.errors import InvalidRequest

_MAX_VIOLATIONS = 16
# CEL knows 64-bit floats alone, and writes all their digits. Every float of the protos has 32.
_LONG_FLOAT = re.compile(r"(?<=, got )-?\d+\.\d+(e[-+]\d+)?$")
# In our own words: protovalidate's are "at least 1 characters" and "no more than 16 item(s)".
_LENGTH_RULES = {
    "string.min_len": ("at least", "character", "characters"),
    "string.max_len": ("at most", "character", "characters"),
    "repeated.min_items": ("at least", "item", "items"),
    "repeated.max_items": ("at most", "item", "items"),
    "map.max_pairs": ("at most", "entry", "entries"),
}


def validate(request: Message, prefix: str = "") -> None:
    """Checks every rule of a request's proto, or of a part of one, whose path is `prefix`.

    Raises:
        InvalidRequest: names every list that is too long, otherwise every field that breaks a rule,
            16 at most.
    """
    # Lists first: everything else looks at each of their items.
    violations = list(_long_lists(request, ""))
    if not violations:
        named: dict[str, str] = {}
        for item in protovalidate.collect_violations(request):
            path, text = _describe(request, item)
            # A number that is none breaks its range, too: once is enough.
            if path not in named or item.proto.rule_id == "float.finite":
                named[path] = text
        violations = list(named.items())
    if prefix:
        violations = [(f"{prefix}{path}", text) for path, text in violations]
    if violations:
        field, description = violations[0]
        raise InvalidRequest(field, description, *violations[1:_MAX_VIOLATIONS])


def _long_lists(message: Message, prefix: str) -> Iterator[tuple[str, str]]:
    for field, max_items in _fields_with_lists(cast("Descriptor", message.DESCRIPTOR)):
        if not field.is_repeated:
            if message.HasField(field.name):
                yield from _long_lists(getattr(message, field.name), f"{prefix}{field.name}.")
            continue
        items: Any = getattr(message, field.name)
        if max_items is not None and len(items) > max_items:
            yield f"{prefix}{field.name}", describe_excess(max_items, len(items))
        elif _is_own_message(field):
            for index, item in enumerate(items):
                yield from _long_lists(item, f"{prefix}{field.name}[{index}].")


@functools.cache  # one entry a type of message
def _fields_with_lists(kind: Descriptor) -> tuple[tuple[FieldDescriptor, int | None], ...]:
    """Finds the lists with a bound in a message, and the fields whose messages have such lists."""
    return tuple(
        (field, max_items_of(field))
        for field in kind.fields
        if max_items_of(field) is not None
        or (_is_own_message(field) and _fields_with_lists(cast("Descriptor", field.message_type)))
    )


def _is_own_message(field: FieldDescriptor) -> bool:
    kind = field.message_type
    if kind is None or kind.GetOptions().map_entry:
        return False
    return kind.file.package == "tokenwire.v1"


def _describe(request: Message, violation: protovalidate.Violation) -> tuple[str, str]:
    proto = violation.proto
    elements = list(proto.field.elements) if proto.field else []
    path = _path(elements)
    rule_id = proto.rule_id
    if not (proto.rule and proto.rule.elements) and "." in rule_id:
        # A rule over a whole message: by our convention its id starts with the field it is about,
        # and its message has the value.
        name = rule_id.partition(".")[0]
        message = _LONG_FLOAT.sub(lambda match: _shortest(float(match[0])), proto.message)
        return (f"{path}.{name}" if path else name), message
    names = _allowed_names(request, elements)
    if rule_id == "required" and names:
        return path, f"must have {names}"
    if rule_id == "enum.not_in":
        return path, f"must be set: {names}"
    if rule_id == "enum.defined_only":
        return path, f"must be {names}, got {violation.field_value}"
    return path or "request", _describe_rule(rule_id, violation)


def _allowed_names(request: Message, elements: Sequence[Any]) -> str:
    """Names the values of an enum, or the fields of a oneof, that work; empty for other fields."""
    if not elements:
        return ""
    kind: Any = request.DESCRIPTOR  # two classes, of which type checkers know one by half
    for element in elements[:-1]:
        kind = kind.fields_by_name[element.field_name].message_type
    last = elements[-1].field_name
    if last in kind.oneofs_by_name:
        fields = kind.oneofs_by_name[last].fields
        names = [field.name for field in fields]
    else:
        enum = kind.fields_by_name[last].enum_type
        names = [value.name for value in (enum.values if enum else ()) if value.number]
    return " or ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _shortest(value: float) -> str:
    """Writes a 32-bit float with as few digits as tell it from all others: 2.1, not 2.0999999."""
    packed = struct.pack("f", value)
    texts = (f"{value:.{digits}g}" for digits in range(6, 10))  # 9 always do (IEEE 754)
    return next((text for text in texts if struct.pack("f", float(text)) == packed), str(value))


def _path(elements: Sequence[Any]) -> str:
    """Writes a protovalidate field path as `messages[0].role`."""
    parts: list[str] = []
    for element in elements:
        name = f".{element.field_name}" if parts else element.field_name
        subscript = element.subscript
        parts.append(name if subscript is None else f"{name}[{subscript.value}]")
    return "".join(parts)


def _describe_rule(rule_id: str, violation: protovalidate.Violation) -> str:
    """Says what a rule asks for, and what came: a number or a length, never the caller's text."""
    # Any: a value of the field's own type, and the value of the rule.
    value: Any = violation.field_value
    limit: Any = violation.rule_value
    if rule_id in _LENGTH_RULES:
        bound, singular, plural = _LENGTH_RULES[rule_id]
        return f"must have {bound} {limit} {singular if limit == 1 else plural}, got {len(value)}"
    if rule_id == "bool.const":
        return f"must be {limit}".lower()
    message = violation.proto.message or rule_id
    if isinstance(value, Duration):
        return f"{message}, got {_shown(value)}"
    if isinstance(value, float):
        return f"{message}, got {_shortest(value)}"
    return f"{message}, got {value}" if isinstance(value, int) else message


def _shown(duration: Duration) -> str:
    try:
        return duration.ToJsonString()
    except ValueError:  # protobuf carries what is none: more than a second of nanoseconds
        return "no valid duration"
