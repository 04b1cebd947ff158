"""What is documented about environment variables, read from the classes that declare them."""

from __future__ import annotations

import enum
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Variable:
    """What is documented about one environment variable.

    `takes` says which values are right. `empty_text` is how a value without items is written.
    """

    name: str
    attribute: str
    default: str
    description: str
    takes: str
    empty_text: str
    is_secret: bool


def variables(settings_class: type[BaseModel]) -> tuple[Variable, ...]:
    """Lists the variables of a settings class in the order of its fields."""
    return tuple(
        Variable(
            name=field.alias or attribute,
            attribute=attribute,
            default=_default_text(field),
            description=field.description or "",
            takes=extra_of(field)["takes"] or _takes(field),
            empty_text=extra_of(field)["empty_text"],
            is_secret=SecretStr in _members(field.annotation),
        )
        for attribute, field in settings_class.model_fields.items()
    )


def shown_value(settings: BaseModel, variable: Variable) -> str:
    """Returns the value in force as text, secrets and the user info of addresses hidden."""
    value = getattr(settings, variable.attribute)
    if variable.is_secret and value is not None:
        return "(hidden)"
    if value is None:
        return variable.default
    return hide_user_info(_text(value)) or variable.empty_text


def hide_user_info(text: str) -> str:
    """Returns a text without the users and passwords of the addresses in it."""
    return re.sub(r"//[^\s,]*@", "//(hidden)@", text)


def _takes(field: FieldInfo) -> str:
    members = _members(field.annotation)
    for member in members:
        if typing.get_origin(member) is typing.Literal:
            return "one of " + ", ".join(typing.get_args(member))
        if isinstance(member, type) and issubclass(member, enum.Enum):
            return "one of " + ", ".join(str(choice.value) for choice in member)
    if bool in members:
        return "true or false"
    if int in members or float in members:
        return ("a number" if float in members else "a whole number") + _range(field)
    return "text"


def _range(field: FieldInfo) -> str:
    bounds: dict[str, Any] = {}
    for part in field.metadata:
        for bound in ("ge", "gt", "le"):
            if getattr(part, bound, None) is not None:
                bounds[bound] = getattr(part, bound)
    if "ge" in bounds and "le" in bounds:
        return f" from {bounds['ge']} to {bounds['le']}"
    words = {"ge": " of at least", "gt": " above", "le": " of at most"}
    return " and".join(f"{words[bound]} {value}" for bound, value in bounds.items())


def _members(annotation: object) -> tuple[object, ...]:
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


def _default_text(field: FieldInfo) -> str:
    text = extra_of(field)["default_text"]
    if text is not None:
        return str(text)
    return "" if field.is_required() else _text(field.default)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return ",".join(str(item) for item in typing.cast("tuple[object, ...]", value))
    if isinstance(value, Mapping):
        pairs = typing.cast("Mapping[object, object]", value)
        return ",".join(f"{name}={item}" for name, item in pairs.items())
    return str(value)


def extra_of(field: FieldInfo) -> dict[str, Any]:
    """Returns what `setting` keeps about a field beside its type."""
    extra = field.json_schema_extra
    if not isinstance(extra, dict):
        raise TypeError("a field of a settings class is declared with `setting`")
    return typing.cast("dict[str, Any]", extra)
