"""What a JSON body holds for the fields of a message, with its place there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from ...item_limits import describe_excess, max_items_of
from ..body import shown
from ..errors import EdgeError, invalid
from ..fields import MAX_TEMPLATE_LEVELS, has_too_many_levels

_PACKAGE = "tokenwire."
_MAX_NAME = 200
_WANTED = {
    FieldDescriptor.TYPE_STRING: "a string",
    FieldDescriptor.TYPE_BYTES: "base64 text",
    FieldDescriptor.TYPE_BOOL: "true or false",
    FieldDescriptor.TYPE_FLOAT: "a number that fits into 32 bits",
    FieldDescriptor.TYPE_DOUBLE: "a number",
    FieldDescriptor.TYPE_INT32: f"an integer from {-(2**31)} to {2**31 - 1}",
    FieldDescriptor.TYPE_UINT32: f"an integer from 0 to {2**32 - 1}",
    FieldDescriptor.TYPE_INT64: f"an integer from {-(2**63)} to {2**63 - 1}",
    FieldDescriptor.TYPE_UINT64: f"an integer from 0 to {2**64 - 1}",
}
_WANTED_WELL_KNOWN = {
    "google.protobuf.Duration": 'a duration such as "1.5s"',
    "google.protobuf.Struct": f"an object of at most {MAX_TEMPLATE_LEVELS} levels",
}


@dataclass(frozen=True, slots=True)
class FieldValue:
    """The value of a field that holds no messages of ours, as JSON, and its place in the body."""

    field: FieldDescriptor
    place: str
    value: object

    def check(self) -> None:
        """Looks for the item or entry that json_format cannot read, whose own words we cannot use.

        Raises:
            EdgeError: there is one; names it.
        """
        if self._is_readable(self.value):
            return
        place, value = self.place, self.value
        if _is_map(self.field):
            entries = list(_object(value, place).items())
            index = self._first_unreadable(len(entries), lambda part: dict(entries[part]))
            key, value = entries[index]
            place = f"{place}[{key[:_MAX_NAME]}]"
        elif self.field.is_repeated:
            items = _array(value, place)
            index = self._first_unreadable(len(items), lambda part: items[part])
            place, value = f"{place}[{index}]", items[index]
        raise _wrong(value, self.field, place)

    def _is_readable(self, value: object) -> bool:
        message = message_factory.GetMessageClass(cast("Descriptor", self.field.containing_type))()
        alone = {self.field.json_name: value}
        try:
            json_format.ParseDict(alone, message)
        except json_format.ParseError:
            return False
        return True

    def _first_unreadable(self, num_parts: int, cut: Callable[[slice], object]) -> int:
        """Halves what is in question: there may be a million parts."""
        first, last = 0, num_parts
        while last - first > 1:
            middle = (first + last) // 2
            if self._is_readable(cut(slice(first, middle))):
                first = middle
            else:
                last = middle
        return first


def field_values(body: Mapping[str, Any], kind: Descriptor, path: str = "") -> Iterator[FieldValue]:
    """Yields what a body holds at any depth, its messages opened up.

    Raises:
        EdgeError: it is not shaped like the message; names the field.
    """
    fields = {name: field for field in kind.fields for name in (field.name, field.json_name)}
    set_by: dict[str, str] = {}
    for name, value in body.items():
        field = fields.get(name)
        place = f"{path}{name[:_MAX_NAME]}"
        if field is None:
            raise invalid(place, "is no field of this request")
        if value is None:
            continue
        oneof = field.containing_oneof
        # `optional` makes a oneof of one field.
        choice = field.name if oneof is None or len(oneof.fields) == 1 else oneof.name
        other = set_by.setdefault(choice, name)
        if other != name:
            raise invalid(f"{path}{choice}", f"only one of {other} and {name} may be set")
        yield from _values_of_field(value, field, place)


def _values_of_field(value: object, field: FieldDescriptor, place: str) -> Iterator[FieldValue]:
    kind = field.message_type
    is_own = kind is not None and kind.full_name.startswith(_PACKAGE) and not _is_map(field)
    if kind is not None and is_own and field.is_repeated:
        items = _array(value, place)
        max_items = max_items_of(field)
        if max_items is not None and len(items) > max_items:
            raise invalid(place, describe_excess(max_items, len(items)))
        for index, item in enumerate(items):
            yield from field_values(_object(item, f"{place}[{index}]"), kind, f"{place}[{index}].")
    elif kind is not None and is_own:
        yield from field_values(_object(value, place), kind, f"{place}.")
    else:
        for item, item_place in _items(value, field, place):
            if _is_mistaken(item, field):
                raise _wrong(item, field, item_place)
        yield FieldValue(field, place, value)


def _items(value: object, field: FieldDescriptor, place: str) -> Iterator[tuple[object, str]]:
    """Yields what stands for the field's type, each with its place: entries, items or the value."""
    if _is_map(field):
        for key, item in _object(value, place).items():
            yield item, f"{place}[{key[:_MAX_NAME]}]"
    elif field.is_repeated:
        _array(value, place)  # of numbers and strings, which json_format reads well
    else:
        yield value, place


def _is_mistaken(value: object, field: FieldDescriptor) -> bool:
    """Whether json_format would take a value for something that it is not."""
    if _is_map(field):
        field = cast("Descriptor", field.message_type).fields_by_name["value"]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return not isinstance(value, str)
    if field.enum_type is not None:
        return isinstance(value, bool | float)
    if field.message_type is not None:
        return has_too_many_levels(value)
    is_float = field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE)
    return is_float and isinstance(value, bool)


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and bool(kind.GetOptions().map_entry)


def _object(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(place, f"must be an object, got {shown(value)}")
    return cast("dict[str, Any]", value)


def _array(value: object, place: str) -> list[object]:
    if not isinstance(value, list):
        raise invalid(place, f"must be an array, got {shown(value)}")
    return cast("list[object]", value)


def _wrong(value: object, field: FieldDescriptor, place: str) -> EdgeError:
    if field.message_type is not None and _is_map(field):
        key, item = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        wanted = f"{_wanted(item)} under a key that is {_wanted(key)}"
    else:
        wanted = _wanted(field)
    return invalid(place, f"must be {wanted}, got {shown(value)}")


def _wanted(field: FieldDescriptor) -> str:
    if field.enum_type is not None:
        return "one of " + ", ".join(value.name for value in field.enum_type.values)
    if field.message_type is not None:
        return _WANTED_WELL_KNOWN[field.message_type.full_name]
    return _WANTED[field.type]
