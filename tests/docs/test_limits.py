"""docs/limits.md against protos, settings and constants; every field at its limit and above."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, cast

import protovalidate
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from tokenwire.edge.config import EdgeConfig
from tokenwire.generated.buf.validate import validate_pb2
from tokenwire.generated.tokenwire.v1 import inference_pb2, tokenizer_pb2
from tokenwire.server.preparation.kits import config_class
from tokenwire.variables import variables

from .pages import ROOT, read_page, table_below

_REQUESTS = (
    inference_pb2.GenerateRequest,
    inference_pb2.ChatRequest,
    tokenizer_pb2.TokenizeRequest,
    tokenizer_pb2.DetokenizeRequest,
)
_UNITS = {"max_len": "characters", "max_items": "items", "max_pairs": "entries"}


def _messages(kind: Descriptor, seen: dict[str, Descriptor]) -> dict[str, Descriptor]:
    if kind.full_name.startswith("tokenwire.v1.") and kind.full_name not in seen:
        seen[kind.full_name] = kind
        for field in kind.fields:
            if field.message_type is not None:
                _messages(cast("Descriptor", field.message_type), seen)
    return seen


def _rules(field: FieldDescriptor) -> Any:
    # Any: protoc types an extension as a plain descriptor, without its type.
    options: Any = field.GetOptions()
    return options.Extensions[validate_pb2.field]


def _limits() -> Iterator[tuple[str, FieldDescriptor, int, str]]:
    """Every upper bound of a length, a number of items or an integer: name, field, bound, unit."""
    seen: dict[str, Descriptor] = {}
    for request in _REQUESTS:
        _messages(request.DESCRIPTOR, seen)
    for kind in seen.values():
        for field in kind.fields:
            name = f"{kind.full_name.removeprefix('tokenwire.v1.')}.{field.name}"
            rules = _rules(field)
            for text, unit in (
                ("string", "max_len"),
                ("repeated", "max_items"),
                ("map", "max_pairs"),
            ):
                part = getattr(rules, text)
                if part.HasField(unit):
                    yield name, field, getattr(part, unit), _UNITS[unit]
            if rules.repeated.items.string.HasField("max_len"):
                yield f"{name}[]", field, rules.repeated.items.string.max_len, "characters"
            if rules.int32.HasField("lte"):
                yield name, field, rules.int32.lte, "at most"


FIELDS = list(_limits())


def test_every_limit_of_a_field_is_documented() -> None:
    """The table has every bound that the protos state, and nothing more."""
    rows = [row[:2] for row in table_below(read_page("limits.md"), "## Fields of requests")]
    assert rows == [
        [f"`{name}`", f"{unit} {limit}" if unit == "at most" else f"{limit} {unit}"]
        for name, _, limit, unit in FIELDS
    ]


def _is_refused(name: str, field: FieldDescriptor, number: int, unit: str) -> bool:
    message: Any = GetMessageClass(cast("Descriptor", field.containing_type))()
    if name.endswith("[]"):
        getattr(message, field.name).append("x" * number)
    elif unit == "entries":
        for key in range(number):
            getattr(message, field.name)[key] = 0
    elif unit == "items":
        items = getattr(message, field.name)
        for _ in range(number):
            if field.message_type is not None:
                items.add()
            else:
                items.append("x" if field.cpp_type == field.CPPTYPE_STRING else 1)
    else:
        setattr(message, field.name, "x" * number if unit == "characters" else number)
    return any(
        violation.proto.field.elements
        and violation.proto.field.elements[0].field_name == field.name
        and violation.proto.rule_id.partition(".")[2]
        in ("max_len", "max_items", "max_pairs", "lte", "gte_lte")
        for violation in protovalidate.collect_violations(message)
        if len(violation.proto.field.elements) <= 1
    )


@pytest.mark.parametrize(("name", "field", "limit", "unit"), FIELDS, ids=[row[0] for row in FIELDS])
def test_field_at_its_limit_and_above(
    name: str, field: FieldDescriptor, limit: int, unit: str
) -> None:
    """A value at the limit passes, and one more is refused."""
    assert not _is_refused(name, field, limit, unit)
    assert _is_refused(name, field, limit + 1, unit)


def test_settings_and_their_defaults() -> None:
    """Each variable is one, and its default is that of the code."""
    known = {
        each.name: each.default for kind in (config_class(), EdgeConfig) for each in variables(kind)
    }
    rows = table_below(read_page("limits.md"), "## Limits with a variable")
    documented = {row[1].strip("`"): row[2].strip("`") for row in rows}
    assert documented == {name: known[name] for name in documented}


def test_constants() -> None:
    """Each limit that no variable sets is a constant, and has its value."""
    for _, place, value, *_ in table_below(read_page("limits.md"), "## Limits that are fixed"):
        module, _, name = place.strip("`").rpartition(".")
        assert str(getattr(importlib.import_module(f"tokenwire.{module}"), name)) == value.strip(
            "`"
        )


def test_every_fixed_limit_is_documented() -> None:
    """All of `fixed_limits.py` stands in the table."""
    from tokenwire.server.settings import fixed_limits

    rows = table_below(read_page("limits.md"), "## Limits that are fixed")
    places = {row[1].strip("`").rpartition(".")[2] for row in rows}
    assert {name for name in vars(fixed_limits) if name.isupper()} <= places


@pytest.mark.parametrize("heading", ["## Limits with a variable", "## Limits that are fixed"])
def test_each_row_names_its_test(heading: str) -> None:
    """The test that is named is there."""
    for row in table_below(read_page("limits.md"), heading):
        path, _, test = row[-1].strip("`").partition("::")
        assert f"def {test}(" in (ROOT / "tests" / path).read_text(), row
