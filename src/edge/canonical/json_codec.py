"""Canonical proto-JSON to and from messages: pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from ..body import BODY_FIELD
from ..errors import EdgeError, Failure, canonical_body, invalid
from ..sse import Event, data_event

MessageT = TypeVar("MessageT", bound=Message)

_PACKAGE = "tokenwire."
_MAX_DEPTH = 64
_MAX_DESCRIPTION = 200
# json_format tells the place as `at GenerateRequest.sampling.topP`, and wraps every level again.
_PLACE = re.compile(r' at "?[A-Z]\w*((?:\.\w+|\[[^\]]*\])*)"?')
_WRAPPED = re.compile(r"^Failed to parse (\w+) field: ")
_UNKNOWN = re.compile(r'^Message type "[\w.]+" has no field named "(.*?)" at', re.DOTALL)
_TWO_OF_ONE = re.compile(r'^Message type "[\w.]+" should not have multiple "(.*?)" oneof fields')


def decode(body: dict[str, Any], message_type: type[MessageT]) -> MessageT:
    """Reads a message, strictly: unknown fields and wrong types are refused.

    Raises:
        EdgeError: the body is not such a message; names the field.
    """
    message = message_type()
    _check_shape(body, cast("Descriptor", message.DESCRIPTOR), "")
    try:
        json_format.ParseDict(body, message, max_recursion_depth=_MAX_DEPTH)
    except json_format.ParseError as error:
        raise _invalid(str(error)) from None
    return message


def encode(message: Message) -> dict[str, Any]:
    """Writes a message."""
    return json_format.MessageToDict(message)


class CanonicalStream:
    """The events of a stream route: every message as it is, a failure as `{"error": Status}`."""

    def encode(self, event: Event) -> bytes:
        """Returns one event."""
        return data_event(encode(event))

    def encode_failure(self, failure: Failure) -> bytes:
        """Returns the last event of a failed stream."""
        return data_event({"error": canonical_body(failure)})


def _check_shape(values: Mapping[str, Any], kind: Descriptor, path: str) -> None:
    """Refuses what json_format takes for an empty message or cannot name the place of."""
    for field in kind.fields:
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            continue
        is_own = inner is not None and inner.full_name.startswith(_PACKAGE)
        for name in {field.name, field.json_name} & values.keys():
            value: object = values[name]
            if value is None:
                continue
            if not field.is_repeated:
                items: list[object] = [value]
            elif isinstance(value, list):
                items = cast("list[object]", value)
            else:
                raise invalid(f"{path}{name}", "must be an array")
            for index, item in enumerate(items):
                place = f"{path}{name}[{index}]" if field.is_repeated else f"{path}{name}"
                if field.type == FieldDescriptor.TYPE_BYTES and not isinstance(item, str):
                    raise invalid(place, "must be base64 text")
                if not is_own:
                    continue
                if not isinstance(item, dict):
                    raise invalid(place, "must be an object")
                _check_shape(cast("dict[str, Any]", item), cast("Descriptor", inner), f"{place}.")


def _invalid(text: str) -> EdgeError:
    names: list[str] = []
    while match := _WRAPPED.match(text):
        names.append(match[1])
        text = text[match.end() :]
    places = [place.removeprefix(".") for place in _PLACE.findall(text)]
    path = next((place for place in reversed(places) if place), ".".join(names))
    if unknown := _UNKNOWN.match(text):
        path = f"{path}.{unknown[1]}" if places and places[0] else unknown[1]
        return invalid(path[:_MAX_DESCRIPTION], "is no field of this request")
    if two := _TWO_OF_ONE.match(text):
        return invalid(path or two[1], f"only one of '{two[1]}' may be set")
    description = _PLACE.sub("", text).split("\n", 1)[0].rstrip(". ")
    return invalid(path or BODY_FIELD, description[:_MAX_DESCRIPTION])
