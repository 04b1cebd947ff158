"""The `/api` routes on the real front; their promises to callers are in `tests/contract`."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from ...conftest import MODEL_ID
from ..sse_reading import read_events

COUNT = [{"role": "user", "content": "Count from one to five."}]
GREEDY: dict[str, Any] = {"model": MODEL_ID, "temperature": 0, "max_tokens": 12}


async def post(http: aiohttp.ClientSession, path: str, body: Any, status: int = 200) -> Any:
    """Posts JSON and returns the JSON of the answer."""
    async with http.post(path, json=body) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def test_chat_stream_equals_chat(http: aiohttp.ClientSession) -> None:
    """The deltas of the stream together are the unary answer, and a closing event tells the end."""
    request = {**GREEDY, "messages": COUNT}
    whole = await post(http, "/api/chat", request)
    async with http.post("/api/chat/stream", json=request) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert "Content-Encoding" not in response.headers
        *deltas, end = await read_events(response)
    assert all(set(delta) == {"content"} for delta in deltas)
    assert "".join(delta["content"] for delta in deltas) == whole["message"]["content"]
    assert end == {
        "done": True,
        "finish_reason": whole["finish_reason"],
        "tokens_generated": whole["tokens_generated"],
        "model": MODEL_ID,
    }


async def test_completions_with_stream_speaks_openai(http: aiohttp.ClientSession) -> None:
    """`"stream": true` streams OpenAI's objects, ends with `[DONE]` and tells usage on request."""
    request = {
        **GREEDY,
        "prompt": "One, two, three,",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    async with http.post("/api/completions", json=request) as response:
        assert response.status == 200
        *chunks, done = await read_events(response)
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    *deltas, last, usage = chunks
    assert "".join(delta["choices"][0]["text"] for delta in deltas)
    assert last["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 12


async def test_null_is_absent(http: aiohttp.ClientSession) -> None:
    """Every optional field may be null."""
    names = ("temperature", "top_p", "stop", "suffix", "seed", "stream", "n", "logprobs", "tools")
    request = {"model": MODEL_ID, "prompt": "One,", "max_tokens": 1, **dict.fromkeys(names)}
    assert (await post(http, "/api/completions", request))["tokens_generated"] == 1


async def test_max_tokens_zero_answers_empty(http: aiohttp.ClientSession) -> None:
    """No tokens asked, no tokens answered: an empty text of reason `length`."""
    body = await post(http, "/api/generate", {**GREEDY, "prompt": "Hi", "max_tokens": 0})
    assert (body["text"], body["finish_reason"], body["tokens_generated"]) == ("", "length", 0)


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat/stream"])
async def test_an_unknown_model_is_refused(http: aiohttp.ClientSession, path: str) -> None:
    """An unknown model is a 400 of its own code, on streams before any event."""
    question = {"prompt": "Hi"} if path == "/api/generate" else {"messages": COUNT}
    body = await post(http, path, {"model": "no/such", **question}, status=400)
    assert body["code"] == "UNSUPPORTED_MODEL"
    assert body["error"].startswith("Unsupported model: no model 'no/such' here")


async def test_a_prompt_over_the_context_tells_both_numbers(http: aiohttp.ClientSession) -> None:
    """The refusal names the caller's field, the prompt's length and the limit."""
    body = await post(http, "/api/generate", {**GREEDY, "prompt": "one " * 3000}, status=400)
    assert body["code"] == "BAD_REQUEST"
    assert body["error"].startswith("Bad request: prompt: has 30")
    assert "1024" in body["error"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"stop": [""]}, "stop[0]"),
        ({"model": ""}, "model"),
    ],
)
async def test_the_servers_refusals_name_the_callers_field(
    http: aiohttp.ClientSession, change: dict[str, Any], field: str
) -> None:
    """What the server finds wrong is told with `/api`'s own field names."""
    body = await post(http, "/api/completions", {**GREEDY, "prompt": "Hi", **change}, status=400)
    assert body["error"].startswith(f"Bad request: {field}: "), body
