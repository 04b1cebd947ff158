"""What is refused before the front is asked: every body that cannot be read."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from .conftest import MAX_BODY_BYTES
from .scripted import MODEL, ScriptedFront

POSTS = [
    "/api/generate",
    "/api/chat",
    "/api/chat/stream",
    "/api/completions",
    "/api/completions/stream",
    "/tokenwire/v1/generate",
    "/tokenwire/v1/chat",
]
JSON = {"Content-Type": "application/json"}
USER = {"role": "user", "content": "Hi"}


async def refused(http: aiohttp.ClientSession, path: str, data: bytes, status: int = 400) -> str:
    """Posts bytes and returns the text of the refusal, whatever the dialect."""
    async with http.post(path, data=data, headers=JSON) as response:
        assert response.status == status, await response.text()
        assert response.content_type == "application/json"
        body = await response.json()
    return str(body["error"] if "error" in body else body["message"])


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b'{"model":',
        b'{"model":NaN}',
        b'{"temperature":Infinity}',
        b'{"temperature":1e999}',
        b"\xff\xfe{}",
        b'{"model":"\xc3\x28"}',
        b'{"model":"\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 40_000,
        b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[]",
        b'"text"',
        b"null",
        b"12",
        b"{} {}",
    ],
    ids=lambda data: data[:12].decode("latin-1"),
)
async def test_what_is_no_json_object_is_refused(
    scripted_http: aiohttp.ClientSession, path: str, data: bytes
) -> None:
    """Whatever is not a JSON object is a 400 that says so, never a 500."""
    text = await refused(scripted_http, path, data)
    assert "body: " in text


@pytest.mark.parametrize("path", POSTS)
async def test_a_body_over_the_limit_is_413(
    scripted_http: aiohttp.ClientSession, path: str
) -> None:
    """A body that is too large is refused, and the limit told."""
    data = b'{"model":"' + b"x" * MAX_BODY_BYTES + b'"}'
    text = await refused(scripted_http, path, data, status=413)
    assert str(MAX_BODY_BYTES) in text


@pytest.mark.parametrize("path", POSTS)
async def test_another_content_type_is_415(scripted_http: aiohttp.ClientSession, path: str) -> None:
    """A body that is not JSON by its own header is refused."""
    async with scripted_http.post(path, data=b"{}", headers={"Content-Type": "text/xml"}) as answer:
        assert answer.status == 415
        assert "application/json, got text/xml" in await answer.text()


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
        ("/api/generate", {"stop": 1}, "stop: must be an array of strings, got an integer"),
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
        ("/api/generate", {"images": ["x"]}, "images: is not supported here, got an array"),
        ("/api/completions", {"suffix": 1}, "suffix: must be a string, got an integer"),
        ("/api/completions", {"stream": "yes"}, "stream: must be true or false, got a string"),
        ("/api/completions", {"echo": True}, "echo: is not supported here"),
        ("/api/chat", {}, "messages: is required and must be an array of objects"),
        ("/api/chat", {"messages": "x"}, "messages: must be an array of objects, got a string"),
        ("/api/chat", {"messages": [1]}, "messages[0]: must be an object, got an integer"),
        ("/api/chat", {"messages": [{"content": "x"}]}, "messages[0].role: is required"),
        ("/api/chat", {"messages": [{"role": "user"}]}, "messages[0].content: is required"),
        ("/api/chat", {"messages": [{**USER, "content": []}]}, "messages[0].content: must be a st"),
        ("/api/chat", {"messages": [USER, {**USER, "role": "tool"}]}, "messages[1].role: must be"),
        ("/api/chat", {"messages": [{**USER, "role": "User"}]}, "messages[0].role: must be one of"),
        ("/api/chat", {"messages": [{**USER, "tool_calls": [1]}]}, "messages[0].tool_calls: is"),
        ("/api/chat", {"messages": [{**USER, "images": ["x"]}]}, "messages[0].images: is not"),
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


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("generate", {"text": 5}, "text"),
        ("generate", {"text": "x", "sampling": {"temperature": "hot"}}, "sampling.temperature"),
        ("generate", {"text": "x", "sampling": {"seed": 2**40}}, "sampling.seed"),
        ("generate", {"text": "x", "sampling": {"topK": 1.5}}, "sampling.topK"),
        ("generate", {"text": "x", "sampling": 5}, "sampling"),
        ("generate", {"text": "x", "sampling": []}, "sampling"),
        ("generate", {"text": "x", "sampling": "abc"}, "sampling"),
        ("generate", {"text": "x", "sampling": {"stop": "x"}}, "sampling.stop"),
        ("generate", {"text": "x", "sampling": {"stop": [1]}}, "sampling.stop"),
        ("generate", {"text": "x", "sampling": {"logitBias": {"x": 1}}}, "sampling.logitBias"),
        ("generate", {"text": "x", "nothing": 1}, "nothing"),
        ("generate", {"text": "x", "sampling": {"heat": 1}}, "sampling.heat"),
        ("generate", {"text": "x", "tokenIds": {"ids": [1]}}, "prompt"),
        ("generate", {"text": "x", "delivery": "SOON"}, "delivery"),
        ("generate", {"text": "x", "timeLimit": 5}, "timeLimit"),
        ("generate", {"text": "x", "timeLimit": "5 minutes"}, "timeLimit"),
        ("chat", {"messages": [{"role": "user"}]}, "messages[0].role"),
        ("chat", {"messages": [{"role": "ROLE_USER", "content": "x"}]}, "messages[0].content"),
        ("chat", {"messages": [{"content": [{"image": {"data": 5}}]}]}, "messages[0].content[0]"),
        ("chat", {"messages": {"role": "ROLE_USER"}}, "messages"),
        ("chat", {"messages": [None]}, "messages[0]"),
    ],
)
async def test_canonical_json_is_strict(
    scripted_http: aiohttp.ClientSession, path: str, body: dict[str, Any], field: str
) -> None:
    """What is not the message in canonical JSON is a 400 whose details name the field."""
    whole = {"model": MODEL, **body}
    async with scripted_http.post(f"/tokenwire/v1/{path}", json=whole) as response:
        assert response.status == 400, await response.text()
        status = await response.json()
    assert status["code"] == 3
    (violation,) = (v for d in status["details"] for v in d.get("fieldViolations", ()))
    assert violation["field"].startswith(field), status
    assert len(json.dumps(status)) < 1500


async def test_duplicate_keys_are_tolerated(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """Of two equal keys the last one counts."""
    data = b'{"model":"a","model":"b","prompt":"x","unknown":{"a":1}}'
    async with scripted_http.post("/api/generate", data=data, headers=JSON) as response:
        assert response.status == 200
    assert scripted.requests[-1].model == "b"


async def test_a_body_without_content_type_is_json(
    scripted_http: aiohttp.ClientSession,
) -> None:
    """A client that names no type is taken at its word: the body is JSON."""
    data = b'{"model":"a","prompt":"x"}'
    skip = ("Content-Type",)
    async with scripted_http.post("/api/generate", data=data, skip_auto_headers=skip) as response:
        assert response.status == 200
