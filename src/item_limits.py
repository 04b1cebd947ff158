"""How many items the protos allow in a list."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from .generated.buf.validate import validate_pb2


def max_items_of(field: FieldDescriptor) -> int | None:
    """Returns the most items that the rules of a field allow, None where they do not say."""
    # Any: protoc types an extension as a plain descriptor, without its type.
    options: Any = field.GetOptions()
    if not options.HasExtension(validate_pb2.field):
        return None
    rules: validate_pb2.FieldRules = options.Extensions[validate_pb2.field]
    return rules.repeated.max_items if rules.repeated.HasField("max_items") else None


def describe_excess(max_items: int, num_items: int) -> str:
    """Says what is wrong with a list that is too long."""
    items = "item" if max_items == 1 else "items"
    return f"must have at most {max_items} {items}, got {num_items}"
