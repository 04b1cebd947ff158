"""The shape of an answer, by every name that it has."""

from __future__ import annotations

from typing import Any

import pytest
from tokenwire.edge.errors import EdgeError
from tokenwire.edge.fields import Fields
from tokenwire.edge.openai.constraints import decode_constraint
from tokenwire.generated.tokenwire.v1.sampling_pb2 import Constraint

SCHEMA = {"type": "object", "properties": {"b": {}, "a": {}}}
SCHEMA_TEXT = '{"type":"object","properties":{"b":{},"a":{}}}'
AS_SCHEMA = Constraint(json_schema=SCHEMA_TEXT)
CHOICE = Constraint(choice=Constraint.Choice(values=["a", "b"]))


@pytest.mark.parametrize(
    ("body", "constraint", "name"),
    [
        (
            {"response_format": {"type": "json_object"}},
            Constraint(json_object=True),
            "response_format.type",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "strict": True, "schema": SCHEMA},
                }
            },
            AS_SCHEMA,
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_object", "schema": SCHEMA}},
            AS_SCHEMA,
            "response_format.schema",
        ),
        ({"guided_json": SCHEMA}, AS_SCHEMA, "guided_json"),
        ({"guided_json": SCHEMA_TEXT}, AS_SCHEMA, "guided_json"),
        ({"json_schema": SCHEMA_TEXT}, AS_SCHEMA, "json_schema"),
        ({"guided_regex": "a+"}, Constraint(regex="a+"), "guided_regex"),
        ({"regex": "a+"}, Constraint(regex="a+"), "regex"),
        ({"ebnf": "root ::= x"}, Constraint(ebnf="root ::= x"), "ebnf"),
        ({"grammar": "root ::= x"}, Constraint(ebnf="root ::= x"), "grammar"),
        ({"guided_grammar": "root ::= x"}, Constraint(ebnf="root ::= x"), "guided_grammar"),
        ({"guided_choice": ["a", "b"]}, CHOICE, "guided_choice"),
        ({"structured_outputs": {"json": SCHEMA}}, AS_SCHEMA, "structured_outputs.json"),
        ({"structured_outputs": {"choice": ["a", "b"]}}, CHOICE, "structured_outputs.choice"),
        (
            {"structured_outputs": {"regex": "a", "json": None, "disable_any_whitespace": False}},
            Constraint(regex="a"),
            "structured_outputs.regex",
        ),
        (
            {"structured_outputs": {"json_object": True}},
            Constraint(json_object=True),
            "structured_outputs.json_object",
        ),
    ],
)
def test_every_name_is_read(body: dict[str, Any], constraint: Constraint, name: str) -> None:
    """OpenAI's, vLLM's old and new ones, SGLang's and llama.cpp's; schemas keep their order."""
    given: dict[str, str] = {}
    assert decode_constraint(Fields(body), given) == constraint
    assert given == {"constraint": name}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"response_format": None},
        {"response_format": {}},
        {"response_format": {"type": "text"}},
        {"structured_outputs": {"json_object": False}},
        {"guided_json": None},
    ],
)
def test_none_is_asked_for(body: dict[str, Any]) -> None:
    """Plain text, null and empty objects."""
    given: dict[str, str] = {}
    assert decode_constraint(Fields(body), given) is None
    assert given == {}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"response_format": "json"}, "response_format: must be an object, got a string"),
        ({"response_format": {"type": "xml"}}, "response_format.type: must be one of text, json"),
        ({"response_format": {"a": 1}}, "response_format.type: is required"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema.schema: is required",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}},
            "response_format.json_schema.schema: must be a JSON schema, got an integer",
        ),
        ({"regex": 1}, "regex: must be a string, got an integer"),
        ({"guided_choice": "a"}, "guided_choice: must be an array of strings"),
        ({"guided_choice": ["a", 1]}, "guided_choice[1]: must be a string, got an integer"),
        (
            {"structured_outputs": {"structural_tag": "x"}},
            "structured_outputs.structural_tag: is not supported here; there are json,",
        ),
        (
            {"regex": "a", "response_format": {"type": "json_object"}},
            "regex: goes together with no response_format.type: an answer has one shape",
        ),
    ],
)
def test_what_is_no_shape_is_told(body: dict[str, Any], error: str) -> None:
    """Wrong types, unknown kinds, and two at once."""
    with pytest.raises(EdgeError) as caught:
        decode_constraint(Fields(body), {})
    assert caught.value.message.startswith(error)


def test_deep_schemas_are_refused() -> None:
    """What cannot be written again is a mistake of the caller's, not of ours."""
    deep: object = 1
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(EdgeError, match=r"^guided_json: must be nested less than 255 deep"):
        decode_constraint(Fields({"guided_json": deep}), {})
