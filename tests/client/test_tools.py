"""Functions as tools: what the model reads of them, and how its calls reach them."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from tokenwire.client import ToolCall, tool_of
from tokenwire.client.tool_schema import schema_of
from tokenwire.client.toolbox import Toolbox


class Unit(enum.Enum):
    CELSIUS = "C"
    KELVIN = "K"


def weather(  # noqa: D417 - the others are described in their annotations, or not at all
    city: str, days: int = 1, unit: Unit = Unit.CELSIUS, wind: Annotated[bool, "with wind"] = False
) -> dict[str, Any]:
    """Tells the weather.

    In words.

    Args:
        city: Its name, in English,
            without the country.
        days (int): How many.

    Returns:
        The weather.
    """
    return {"city": city, "days": days, "unit": unit.name, "wind": wind}


def test_function_is_described() -> None:
    """Name, text, parameters with their texts, and what is required."""
    tool = tool_of(weather)
    assert (tool.name, tool.description) == ("weather", "Tells the weather.\n\nIn words.")
    assert json.loads(tool.parameters_schema) == {
        "type": "object",
        "properties": {
            "city": {
                "type": "string",
                "description": "Its name, in English, without the country.",
            },
            "days": {"type": "integer", "description": "How many."},
            "unit": {"enum": ["C", "K"]},
            "wind": {"type": "boolean", "description": "with wind"},
        },
        "required": ["city"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (float, {"type": "number"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (list, {"type": "array"}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (str | None, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Any, {}),
    ],
)
def test_annotations(kind: Any, schema: dict[str, Any]) -> None:
    """What JSON has a type for has a schema."""
    assert schema_of(kind) == schema


def positional(city: str, /) -> str:
    return city


def starred(*cities: str) -> str:
    return str(cities)


def bare(city) -> str:  # type: ignore[no-untyped-def]
    return str(city)


def of_bytes(city: bytes) -> str:
    return str(city)


def of_keys(city: dict[int, str]) -> str:
    return str(city)


@pytest.mark.parametrize("function", [positional, starred, bare, of_bytes, of_keys])
def test_what_json_cannot_say_is_refused(function: Callable[..., Any]) -> None:
    """A function that a model could not call by JSON is refused, naming it."""
    with pytest.raises(TypeError, match=function.__name__):
        tool_of(function)


def test_names_are_unique() -> None:
    """Two tools of one name are refused: the model's call would be for either."""
    with pytest.raises(TypeError, match="weather"):
        Toolbox([weather, weather])


def called(arguments: str, name: str = "weather", *functions: Callable[..., Any]) -> Any:
    return json.loads(Toolbox(functions or [weather]).call(ToolCall("c", name, arguments)))


def test_call_gives_values_as_annotated() -> None:
    """Arguments reach the function in the types that it asks for, and the result is JSON."""
    assert called('{"city": "Oslo", "days": 2, "unit": "K"}') == {
        "city": "Oslo",
        "days": 2,
        "unit": "KELVIN",
        "wind": False,
    }


def lists(numbers: list[float], by: dict[str, int] | None, way: Literal["a", 1] = 1) -> Any:
    return [numbers, by, way, [type(number).__name__ for number in numbers]]


def test_nested_values() -> None:
    """Lists and objects are read inside, and an integer is a number."""
    asked = '{"numbers": [1, 2.5], "by": {"a": 1}, "way": "a"}'
    assert called(asked, "lists", lists) == [[1.0, 2.5], {"a": 1}, "a", ["float", "float"]]
    assert called('{"numbers": [], "by": null}', "lists", lists) == [[], None, 1, []]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        ("{}", "city"),
        ('{"city": "x", "where": 1}', "where"),
        ('{"city": 1}', "city"),
        ('{"city": "x", "days": true}', "days"),
        ('{"city": "x", "days": 1.5}', "days"),
        ('{"city": "x", "unit": "F"}', "unit"),
        ('{"city": "x", "wind": 1}', "wind"),
    ],
)
def test_wrong_call_is_told_to_the_model(arguments: str, words: str) -> None:
    """A call that does not fit is answered with what is wrong, and the function not called."""
    assert words in called(arguments)["error"]


@pytest.mark.parametrize(
    "arguments",
    ['{"numbers": 1, "by": null}', '{"numbers": ["a"], "by": null}', '{"numbers": [], "by": [1]}',
     '{"numbers": [], "by": {"a": "b"}}', '{"numbers": [], "by": null, "way": true}'],
)  # fmt: skip
def test_wrong_nested_value(arguments: str) -> None:
    """A wrong value inside a list, an object or a choice is one, too."""
    assert "must be" in called(arguments, "lists", lists)["error"]


def test_unknown_tool_is_told_to_the_model() -> None:
    """A call of a function that there is not is answered, too."""
    assert "nothing" in called("{}", "nothing")["error"]


async def later(city: str) -> str:
    return city


async def test_asynchronous_functions() -> None:
    """They are awaited by the asynchronous client, and refused by the other."""
    box, call = Toolbox([later, weather]), ToolCall("c", "later", '{"city": "Oslo"}')
    assert await box.call_async(call) == "Oslo"
    with pytest.raises(TypeError, match="AsyncClient"):
        box.call(call)
