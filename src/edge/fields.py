"""Typed reading of JSON objects; mistakes name the field by the caller's own path."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

import orjson

from ..item_limits import describe_excess
from .body import json_type
from .errors import invalid

_INT32_MAX = 2**31 - 1
_INT32_MIN = -(2**31)
_FLOAT32_MAX = 3.4e38
_MAX_SHOWN = 100
# What orjson writes; it reads 1,024.
_MAX_DEPTH = 255
MAX_TEMPLATE_LEVELS = 32
"""Objects and arrays in each other that go to a template: in a message they are three levels each,
and protobuf reads a hundred."""


class Fields:
    """One JSON object. A field that is null counts as absent."""

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self._values = values
        self._path = path

    def path_of(self, name: str) -> str:
        """Returns the path of a field from the top of the body."""
        return f"{self._path}.{name}" if self._path else name

    def names(self) -> list[str]:
        """Returns the names of all fields that there are."""
        return list(self._values)

    def get(self, name: str) -> object:
        """Returns a field of any type, None where it is absent."""
        value: object = self._values.get(name)
        return value

    def string(self, name: str) -> str:
        """Returns a required string."""
        value = self.optional_string(name)
        if value is None:
            raise invalid(self.path_of(name), "is required and must be a string")
        return value

    def optional_string(self, name: str) -> str | None:
        """Returns a string, None where it is absent."""
        value = self.get(name)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(name, "a string", value)

    def optional_choice(self, name: str, choices: Collection[str]) -> str | None:
        """Returns one of some strings, None where it is absent."""
        value = self.optional_string(name)
        if value is None or value in choices:
            return value
        raise invalid(
            self.path_of(name), f"must be one of {', '.join(choices)}, got '{value[:_MAX_SHOWN]}'"
        )

    def optional_boolean(self, name: str) -> bool | None:
        """Returns a boolean, None where it is absent."""
        value = self.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise self._wrong(name, "true or false", value)

    def optional_number(self, name: str) -> float | None:
        """Returns a number that fits into a 32-bit float, None where it is absent."""
        value = self.get(name)
        if value is None:
            return None
        return to_float32(value, self.path_of(name))

    def optional_integer(self, name: str) -> int | None:
        """Returns a whole number, moved into 32 bits, None where it is absent."""
        value = self.get(name)
        if value is None:
            return None
        value = without_point(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(name, "an integer", value)
        return max(_INT32_MIN, min(_INT32_MAX, value))

    def optional_strings(self, name: str) -> list[str]:
        """Returns an array of strings, empty where it is absent or an empty string.

        One string is an array of one.
        """
        value = self.get(name)
        if value is None or value == "":  # many interfaces send every field
            return []
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list):
            raise self._wrong(name, "a string or an array of strings", value)
        for index, item in enumerate(cast("list[object]", value)):
            if not isinstance(item, str):
                raise self._wrong(f"{name}[{index}]", "a string", item)
        return cast("list[str]", value)

    def objects(self, name: str, max_items: int | None = None) -> list[Fields]:
        """Returns a required array of objects, which are not looked at where they are too many."""
        value = self.get(name)
        if value is None:
            raise invalid(self.path_of(name), "is required and must be an array of objects")
        if not isinstance(value, list):
            raise self._wrong(name, "an array of objects", value)
        num_items = len(cast("list[object]", value))
        if max_items is not None and num_items > max_items:
            raise invalid(self.path_of(name), describe_excess(max_items, num_items))
        objects: list[Fields] = []
        for index, item in enumerate(cast("list[object]", value)):
            item_name = f"{name}[{index}]"
            if not isinstance(item, dict):
                raise self._wrong(item_name, "an object", item)
            objects.append(Fields(cast("dict[str, Any]", item), self.path_of(item_name)))
        return objects

    def optional_objects(self, name: str, max_items: int | None = None) -> list[Fields]:
        """Returns an array of objects as `objects` does, empty where it is absent."""
        return [] if self.get(name) is None else self.objects(name, max_items)

    def inner(self, name: str) -> Fields:
        """Returns an object to read on in, without fields where it is absent."""
        return Fields(self.optional_object(name), self.path_of(name))

    def optional_object(self, name: str) -> Mapping[str, Any]:
        """Returns an object, empty where it is absent."""
        value = self.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(name, "an object", value)
        return cast("dict[str, Any]", value)

    def _wrong(self, name: str, wanted: str, value: object) -> Exception:
        return invalid(self.path_of(name), f"must be {wanted}, got {json_type(value)}")


def to_float32(value: object, path: str) -> float:
    """Returns a JSON number, moved into what a 32-bit float holds.

    Raises:
        EdgeError: not a number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(path, f"must be a number, got {json_type(value)}")
    return max(-_FLOAT32_MAX, min(_FLOAT32_MAX, float(value)))


def without_point(value: object) -> object:
    """Returns a number such as 64.0 as the integer that it is to JSON, and all else as it came."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def json_text(value: object, path: str) -> str:
    """Writes a value of a body as JSON text again, which may be nested less deep than a body.

    Raises:
        EdgeError: it is nested too deep.
    """
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise invalid(path, f"must be nested less than {_MAX_DEPTH} deep") from None


def has_too_many_levels(value: object) -> bool:
    """Whether more objects and arrays are in each other than may go to a template."""
    level, num_levels = [value], 0
    while any(isinstance(item, dict | list) for item in level):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below += cast("dict[str, object]", item).values()
            elif isinstance(item, list):
                below += cast("list[object]", item)
        level, num_levels = below, num_levels + 1
    return num_levels > MAX_TEMPLATE_LEVELS
