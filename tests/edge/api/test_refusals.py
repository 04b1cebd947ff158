"""Fields that are known and that a route does not honour."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from tokenwire.edge.api.refusals import KNOWN, KNOWN_OF_A_MESSAGE

from ..scripted import MODEL, ScriptedFront

USER = {"role": "user", "content": "Hi"}
PROMPT: dict[str, Any] = {"model": MODEL, "prompt": "x"}
CHAT: dict[str, Any] = {"model": MODEL, "messages": [USER]}
ROUTES: dict[str, dict[str, Any]] = {
    "/api/generate": PROMPT,
    "/api/generate/stream": PROMPT,
    "/api/chat": CHAT,
    "/api/chat/stream": CHAT,
    "/api/completions": PROMPT,
    "/api/completions/stream": PROMPT,
}
HONOURED = {
    *("model", "temperature", "top_p", "top_k", "min_p", "repetition_penalty"),
    *("presence_penalty", "frequency_penalty", "max_tokens", "min_tokens", "stop", "seed"),
    *("logit_bias", "stream", "detach_timeout"),
}
HONOURED_BY = {
    "/api/generate": HONOURED | {"prompt"},
    "/api/generate/stream": HONOURED | {"prompt"},
    "/api/chat": HONOURED | {"messages"},
    "/api/chat/stream": HONOURED | {"messages"},
    "/api/completions": HONOURED | {"prompt", "suffix", "stream_options"},
    "/api/completions/stream": HONOURED | {"prompt", "suffix"},
}


async def refusal(http: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> str:
    """Posts a body that is refused, and returns the text."""
    async with http.post(path, json=body) as response:
        assert response.status == 400, await response.text()
        return str((await response.json())["error"])


def test_fields_of_grpc_are_known() -> None:
    """A field that gRPC gets is refused here until a route honours it, without a list to keep."""
    assert {"cache_salt", "ignore_eos", "stop_token_ids", "lora_adapter", "time_limit"} <= KNOWN
    assert "tool_calls" in KNOWN_OF_A_MESSAGE
    assert "text" not in KNOWN, "its name is `prompt` here"


@pytest.mark.parametrize("path", ROUTES)
async def test_what_a_route_does_not_honour_is_refused_by_name(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession, path: str
) -> None:
    """Every known field apart from the route's own is refused, and the front is not asked."""
    refused = sorted(KNOWN - HONOURED_BY[path])
    assert {"n", "tools", "response_format", "logprobs", "best_of", "echo"} <= set(refused)
    for name in refused:
        text = await refusal(scripted_http, path, {**ROUTES[path], name: {"x": 1}})
        assert text == f"Bad request: {name}: is not supported here, got an object"
    assert not scripted.requests


@pytest.mark.parametrize(
    ("path", "name", "value", "shown"),
    [
        ("/api/chat", "suffix", "s", "a string"),
        ("/api/generate", "suffix", "s", "a string"),
        ("/api/generate", "messages", [USER], "an array"),
        ("/api/chat", "prompt", "x", "a string"),
        ("/api/chat", "n", 2, "2"),
        ("/api/completions", "n", 0, "0"),
        ("/api/completions", "best_of", 2, "2"),
        ("/api/completions", "echo", True, "true"),
        ("/api/completions", "logprobs", 0, "0"),
        ("/api/chat", "logprobs", True, "true"),
        ("/api/chat", "top_logprobs", 5, "5"),
        ("/api/chat", "tool_choice", "required", "a string"),
        ("/api/chat", "response_format", {"type": "json_object"}, "an object"),
        ("/api/chat", "reasoning_effort", "high", "a string"),
        ("/api/chat", "ignore_eos", True, "true"),
        ("/api/chat", "stop_token_ids", [2], "an array"),
        ("/api/chat", "cache_salt", "tenant", "a string"),
        ("/api/chat", "clamp", 0, "0"),
        ("/api/chat/stream", "stream_options", {"include_usage": True}, "an object"),
        ("/api/completions/stream", "stream_options", {"include_usage": True}, "an object"),
    ],
)
async def test_values_that_ask_for_something(
    scripted_http: aiohttp.ClientSession, path: str, name: str, value: Any, shown: str
) -> None:
    """A number or a boolean is shown as it came, of the rest the type."""
    text = await refusal(scripted_http, path, {**ROUTES[path], name: value})
    assert text == f"Bad request: {name}: is not supported here, got {shown}"


@pytest.mark.parametrize("path", ROUTES)
async def test_values_that_ask_for_nothing_pass(
    scripted_http: aiohttp.ClientSession, path: str
) -> None:
    """Null, false, empty values and the defaults that clients always send are taken."""
    of_both = {
        "n": 1,
        "best_of": 1,
        "echo": False,
        "logprobs": False,
        "top_logprobs": 0,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "service_tier": "auto",
        "store": False,
        "stream_options": {"include_usage": False},
        "stream": False,
        "suffix": "",
        "clamp": True,
        "ignore_eos": False,
        "user": "a label",
        "metadata": {"a": "label"},
        "safety_identifier": "a label",
        "nobody_knows_it": {"x": 1},
    }
    nulls = dict.fromkeys(KNOWN - set(ROUTES[path]) - set(of_both))
    async with scripted_http.post(path, json={**nulls, **of_both, **ROUTES[path]}) as response:
        assert response.status == 200, await response.text()


@pytest.mark.parametrize("name", sorted(KNOWN_OF_A_MESSAGE - {"role", "content"}))
async def test_a_messages_field_is_refused_by_its_place(
    scripted_http: aiohttp.ClientSession, name: str
) -> None:
    """So is what a message may hold elsewhere; null and empty values pass."""
    for value in (None, "", []):
        body = {**CHAT, "messages": [{**USER, name: value}]}
        async with scripted_http.post("/api/chat", json=body) as response:
            assert response.status == 200
    body = {**CHAT, "messages": [USER, {**USER, name: [{"x": 1}]}]}
    text = await refusal(scripted_http, "/api/chat", body)
    assert text == f"Bad request: messages[1].{name}: is not supported here, got an array"
