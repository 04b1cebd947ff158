"""Mistakes in a body name the caller's field."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from tokenwire.edge.errors import EdgeError
from tokenwire.edge.fields import Fields, json_text

from .scripted import MODEL

USER = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("/api/generate", {"prompt": "x"}, "model: is required and must be a string"),
        ("/api/generate", {"model": MODEL}, "prompt: is required and must be a string"),
        ("/api/generate", {"model": 7, "prompt": "x"}, "model: must be a string, got an integer"),
        ("/api/generate", {"prompt": ["x"]}, "prompt: must be a string, got an array"),
        ("/api/generate", {"temperature": "1"}, "temperature: must be a number, got a string"),
        ("/api/generate", {"temperature": True}, "temperature: must be a number, got a boolean"),
        ("/api/generate", {"top_p": {}}, "top_p: must be a number, got an object"),
        ("/api/generate", {"max_tokens": 1.5}, "max_tokens: must be an integer, got a number"),
        ("/api/generate", {"max_tokens": "9"}, "max_tokens: must be an integer, got a string"),
        ("/api/generate", {"max_tokens": False}, "max_tokens: must be an integer, got a boolean"),
        (
            "/api/generate",
            {"stop": 1},
            "stop: must be a string or an array of strings, got an integer",
        ),
        ("/api/generate", {"stop": ["a", 1]}, "stop[1]: must be a string, got an integer"),
        ("/api/generate", {"stop": [None]}, "stop[0]: must be a string, got null"),
        ("/api/generate", {"seed": -1}, "seed: must be an integer from 0 to 4294967295"),
        ("/api/generate", {"logit_bias": {"x": 1}}, "logit_bias[x]: must be the id of a token"),
        ("/api/generate", {"logit_bias": {"1": "x"}}, "logit_bias[1]: must be a number, got a st"),
        ("/api/generate", {"stream": True}, "stream: is not supported here"),
        ("/api/generate", {"n": 2}, "n: is not supported here, got 2"),
        ("/api/generate", {"logprobs": 5}, "logprobs: is not supported here, got 5"),
        ("/api/generate", {"response_format": {"type": "json_object"}}, "response_format: is not"),
        ("/api/generate", {"tools": [{}]}, "tools: is not supported here, got an array"),
        ("/api/generate", {"images": ["x"]}, "images: belongs to Ollama"),
        ("/api/completions", {"suffix": 1}, "suffix: must be a string, got an integer"),
        ("/api/completions", {"stream": "yes"}, "stream: must be true or false, got a string"),
        ("/api/completions", {"echo": True}, "echo: is not supported here"),
        ("/api/chat", {}, "messages: is required and must be an array of objects"),
        ("/api/chat", {"messages": "x"}, "messages: must be an array of objects, got a string"),
        ("/api/chat", {"messages": [1]}, "messages[0]: must be an object, got an integer"),
        ("/api/chat", {"messages": [{"content": "x"}]}, "messages[0].role: is required"),
        ("/api/chat", {"messages": [{"role": "user"}]}, "messages[0].content: is required"),
        ("/api/chat", {"messages": [{**USER, "content": 5}]}, "messages[0].content: must be a st"),
        ("/api/chat", {"messages": [USER, {**USER, "role": "tool"}]}, "messages[1].role: must be"),
        ("/api/chat", {"messages": [{**USER, "role": "User"}]}, "messages[0].role: must be one of"),
        ("/api/chat", {"messages": [{**USER, "tool_calls": [1]}]}, "messages[0].tool_calls: is"),
        ("/api/chat", {"messages": [{**USER, "images": ["x"]}]}, "messages[0].images: belongs to"),
    ],
)
async def test_a_wrong_field_is_named(
    scripted_http: aiohttp.ClientSession, path: str, body: dict[str, Any], error: str
) -> None:
    """A missing field, a wrong type or a feature that is not here is a 400 naming the field."""
    needed = {"messages": [USER]} if "chat" in path else {"prompt": "x"}
    whole = body if error.endswith("required and must be a string") else {**needed, **body}
    if "is required and must be an array" in error:
        whole = dict(body)
    if not error.startswith("model: is required"):
        whole = {"model": MODEL, **whole}
    async with scripted_http.post(path, json=whole) as response:
        assert response.status == 400
        answer = await response.json()
    assert answer["code"] == "BAD_REQUEST"
    assert answer["error"].startswith(f"Bad request: {error}"), answer


def test_a_number_without_a_fraction_is_whole() -> None:
    """JSON does not tell 64.0 from 64; what is beyond 32 bits is moved into them."""
    fields = Fields({"a": 64.0, "b": 1e30, "c": -(2**40)})
    assert fields.optional_integer("a") == 64
    assert fields.optional_integer("b") == 2**31 - 1
    assert fields.optional_integer("c") == -(2**31)


def test_objects_are_read_on_by_their_path() -> None:
    """One that is absent has no fields; a choice is one of its words."""
    fields = Fields({"a": {"b": "x", "c": None}, "d": "e"})
    assert fields.names() == ["a", "d"]
    assert fields.inner("nothing").names() == []
    assert fields.inner("a").optional_choice("b", ("x", "y")) == "x"
    assert fields.inner("a").optional_choice("c", ("x",)) is None
    assert fields.optional_objects("nothing") == []
    with pytest.raises(EdgeError, match=r"^a\.b: must be one of y, z, got 'x'$"):
        fields.inner("a").optional_choice("b", ("y", "z"))


def test_what_is_nested_too_deep_to_be_written_again_is_told() -> None:
    """A body may be nested deeper than the text that a part of it becomes."""

    def nested(depth: int) -> object:
        value: object = 1
        for _ in range(depth):
            value = [value]
        return value

    assert json_text({"b": "\u2028", "a": 1}, "x") == '{"b":"\u2028","a":1}'
    assert json_text(nested(254), "x").count("[") == 254
    with pytest.raises(EdgeError, match=r"^x\.y: must be nested less than 255 deep$"):
        json_text(nested(255), "x.y")
