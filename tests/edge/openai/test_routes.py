"""The `/v1` routes, on the real front with the real engine, and on one that a test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tokenwire.server.contract.errors import (
    AtCapacity,
    EngineLost,
    InferenceError,
    InvalidRequest,
    QuotaExceeded,
    Unauthenticated,
)

from ...conftest import MODEL_ID
from ..scripted import MODEL, ScriptedFront, fail, started, text
from ..sse_reading import read_events

HI = [{"role": "user", "content": "Say hi."}]
GREEDY: dict[str, Any] = {"model": MODEL_ID, "temperature": 0, "max_tokens": 3}
CHAT: dict[str, Any] = {**GREEDY, "messages": HI}
SCRIPTED_CHAT: dict[str, Any] = {"model": MODEL, "messages": HI}


async def post(http: aiohttp.ClientSession, path: str, body: Any, status: int = 200) -> Any:
    """Posts JSON and returns the JSON of the answer."""
    async with http.post(path, json=body) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def stream(http: aiohttp.ClientSession, path: str, body: Any) -> list[Any]:
    """Posts JSON and returns the events of the answer."""
    async with http.post(path, json={**body, "stream": True}) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        return await read_events(response)


async def test_models_are_listed(http: aiohttp.ClientSession) -> None:
    """As a list object, with what vLLM tells beside OpenAI's fields."""
    async with http.get("/v1/models") as response:
        assert response.status == 200
        assert int(response.headers["openai-processing-ms"]) >= 0
        answer = await response.json()
    assert answer["object"] == "list"
    (model,) = answer["data"]
    assert model.pop("created") > 0
    assert model == {
        "id": MODEL_ID,
        "object": "model",
        "owned_by": "tokenwire",
        "root": MODEL_ID,
        "parent": None,
        "max_model_len": 1024,
    }


@pytest.mark.parametrize(
    "path",
    [MODEL_ID, MODEL_ID.replace("/", "%2F"), MODEL_ID.replace("/", "%2f").replace("-", "%2D")],
)
async def test_a_model_is_found_by_its_id(http: aiohttp.ClientSession, path: str) -> None:
    """The slashes of an id come as they are or escaped."""
    # yarl would normalise a path that it is given as text.
    async with http.get(f"/v1/models/{path}") as response:
        assert response.status == 200
        assert (await response.json())["id"] == MODEL_ID


@pytest.mark.parametrize(
    "path", ["owner/repo:file.gguf@other/tokenizer", "owner%2Frepo%3Afile.gguf%40other%2Ftokenizer"]
)
async def test_an_id_may_hold_colons_and_ats(http: aiohttp.ClientSession, path: str) -> None:
    """A model that is not here is told by the id that was meant."""
    async with http.get(f"/v1/models/{path}") as response:
        assert response.status == 404
        error = (await response.json())["error"]
    assert error["message"].startswith("no model 'owner/repo:file.gguf@other/tokenizer' here")
    assert (error["code"], error["param"]) == ("model_not_found", "model")


async def test_a_chat_is_answered(http: aiohttp.ClientSession) -> None:
    """With the fields that OpenAI's clients read, and the id of the request."""
    headers = {"X-Request-Id": "r-7"}
    async with http.post("/v1/chat/completions", json=CHAT, headers=headers) as response:
        assert response.status == 200
        assert response.headers["X-Request-Id"] == "r-7"
        assert "openai-processing-ms" in response.headers
        answer = await response.json()
    assert (answer["id"], answer["object"]) == ("chatcmpl-r-7", "chat.completion")
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    assert choice["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3


async def test_a_chat_is_streamed(http: aiohttp.ClientSession) -> None:
    """What is streamed is what is answered at once, and its usage is the same."""
    whole = await post(http, "/v1/chat/completions", CHAT)
    options = {"stream_options": {"include_usage": True}}
    first, *deltas, last, usage, done = await stream(
        http, "/v1/chat/completions", {**CHAT, **options}
    )
    assert first["choices"][0]["delta"]["role"] == "assistant"
    text = "".join(delta["choices"][0]["delta"]["content"] for delta in deltas)
    assert text == whole["choices"][0]["message"]["content"]
    assert last["choices"][0]["finish_reason"] == "length"
    assert usage["usage"]["total_tokens"] == whole["usage"]["total_tokens"]
    assert done == "[DONE]"
    assert len({chunk["id"] for chunk in (first, *deltas, last, usage)}) == 1


async def test_a_chat_has_choices_with_logprobs(http: aiohttp.ClientSession) -> None:
    """As many as `n`, each with the likeliest tokens at each place."""
    body = {**CHAT, "n": 2, "logprobs": True, "top_logprobs": 2}
    choices = (await post(http, "/v1/chat/completions", body))["choices"]
    assert [choice["index"] for choice in choices] == [0, 1]
    for choice in choices:
        entries = choice["logprobs"]["content"]
        assert "".join(entry["token"] for entry in entries) == choice["message"]["content"]
        assert {len(entry["top_logprobs"]) for entry in entries} == {2}


async def test_an_answer_has_the_shape_that_is_asked_for(http: aiohttp.ClientSession) -> None:
    """By OpenAI's name and by vLLM's."""
    for shape in ({"guided_choice": ["yes"]}, {"structured_outputs": {"regex": "yes"}}):
        answer = await post(http, "/v1/chat/completions", {**CHAT, **shape})
        assert answer["choices"][0]["message"]["content"] == "yes"
        assert answer["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"max_completion_tokens": 10**6}, "max_completion_tokens"),
        ({"max_completion_tokens": -1, "max_tokens": 5}, "max_completion_tokens"),
        ({"n": 17}, "n"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"messages": []}, "messages"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"include_reasoning": False}, "include_reasoning"),
        ({"lora_path": "x"}, "lora_path"),
        ({"priority": 101}, "priority"),
        ({"chat_template_kwargs": {"tools": []}}, "chat_template_kwargs"),
        ({"continue_final_message": True}, "continue_final_message"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 7}}}},
            "response_format.json_schema.schema",
        ),
        ({"guided_regex": "("}, "guided_regex"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]}]},
            "messages[0].tool_calls[0].function.name",
        ),
        (
            {
                "messages": [
                    *HI,
                    {
                        "role": "assistant",
                        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{"}}],
                    },
                ]
            },
            "messages[1].tool_calls[0].function.arguments",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "What is this?"},
                            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
                        ],
                    }
                ]
            },
            "messages[0].content[1].image_url.url",
        ),
    ],
)
async def test_what_the_front_refuses_has_the_callers_name(
    http: aiohttp.ClientSession, body: dict[str, Any], param: str
) -> None:
    """`param` is the path in the JSON that was sent."""
    error = (await post(http, "/v1/chat/completions", {**CHAT, **body}, 400))["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert error["message"].startswith(f"{param}: ")


async def test_no_thinking_is_no_wish_of_a_model_that_does_not_think(
    http: aiohttp.ClientSession,
) -> None:
    """Its answer is the one to a request that says nothing of it."""
    answer = await post(http, "/v1/chat/completions", {**CHAT, "reasoning_effort": "none"})
    plain = await post(http, "/v1/chat/completions", CHAT)
    assert answer["choices"] == plain["choices"]


async def test_a_long_conversation_is_told_as_such(http: aiohttp.ClientSession) -> None:
    """With the code and the words that programs look for."""
    body = {**CHAT, "messages": [{"role": "user", "content": "x " * 3000}]}
    error = (await post(http, "/v1/chat/completions", body, 400))["error"]
    assert error["code"] == "context_length_exceeded"
    assert error["message"].startswith("This model's maximum context length is 1024 tokens.")


async def test_several_prompts_are_several_answers(http: aiohttp.ClientSession) -> None:
    """Numbered prompt by prompt, the same at once and as a stream; token ids echo as text."""
    body = {**GREEDY, "prompt": [[28057], [5345, 314]], "n": 2, "echo": True}
    whole = await post(http, "/v1/completions", body)
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2, 3]
    question = {"model": MODEL_ID, "tokenIds": [28057]}
    prompt = (await post(http, "/tokenwire/v1/detokenize", question))["text"]
    assert prompt
    assert whole["choices"][0]["text"].startswith(prompt)
    assert whole["usage"]["prompt_tokens"] == 3
    assert whole["usage"]["completion_tokens"] == 12
    texts = dict.fromkeys(range(4), "")
    for chunk in (await stream(http, "/v1/completions", body))[:-1]:
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["text"]
    assert list(texts.values()) == [choice["text"] for choice in whole["choices"]]


@pytest.mark.parametrize("is_stream", [False, True])
async def test_one_bad_prompt_is_the_failure_of_all(
    http: aiohttp.ClientSession, is_stream: bool
) -> None:
    """It is named, and a stream has not begun."""
    for prompts, param in (
        (["x", "x " * 3000], "prompt[1]"),
        ([[1], [10**6]], "prompt[1]"),
        ([""], "prompt[0]"),
        ("", "prompt"),
    ):
        body = {**GREEDY, "prompt": prompts, "stream": is_stream}
        error = (await post(http, "/v1/completions", body, 400))["error"]
        assert error["param"] == param


@pytest.mark.parametrize("is_stream", [False, True])
async def test_of_bad_prompts_one_is_told_as_it_is(
    http: aiohttp.ClientSession, is_stream: bool
) -> None:
    """Its number and what is wrong with it belong together, whichever is found first."""
    ids = [10**6 + index for index in range(8)]
    body = {**GREEDY, "prompt": [[token] for token in ids], "stream": is_stream}
    for _ in range(5):
        error = (await post(http, "/v1/completions", body, 400))["error"]
        index = next(index for index, token in enumerate(ids) if str(token) in error["message"])
        assert error["param"] == f"prompt[{index}]"


async def test_a_completion_has_logprobs(http: aiohttp.ClientSession) -> None:
    """The same lists at once and as a stream."""
    body = {**GREEDY, "prompt": "One, two,", "logprobs": 1}
    (whole,) = (await post(http, "/v1/completions", body))["choices"]
    assert "".join(whole["logprobs"]["tokens"]) == whole["text"]
    parts = [
        chunk["choices"][0]["logprobs"]
        for chunk in (await stream(http, "/v1/completions", body))[:-1]
    ]
    offsets = [offset for part in parts if part for offset in part["text_offset"]]
    assert offsets == whole["logprobs"]["text_offset"]


async def test_a_prompt_is_scored_where_the_engine_can(http: aiohttp.ClientSession) -> None:
    """llama.cpp cannot: it is refused by the name that the caller gave."""
    body = {**GREEDY, "prompt": ["One, two,"], "logprobs": 1, "echo": True}
    error = (await post(http, "/v1/completions", body, 400))["error"]
    assert error["param"] == "logprobs"
    assert error["message"].startswith("logprobs: is not supported by the engine of this model")


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (AtCapacity("full"), (503, "at_capacity", "5")),
        (Unauthenticated("who are you"), (401, "invalid_api_key", None)),
        (QuotaExceeded("enough", limit=1, retry_after_s=7), (429, "rate_limit_exceeded", "7")),
        (InvalidRequest("sampling.stop", "is odd"), (400, None, None)),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
async def test_failures_before_the_answer(
    scripted: ScriptedFront,
    scripted_http: aiohttp.ClientSession,
    failure: InferenceError,
    told: tuple[int, str | None, str | None],
    is_stream: bool,
) -> None:
    """They have their own status and, where another try is worthwhile, `Retry-After`."""

    async def script(_request: Any, context: Any) -> AsyncIterator[Any]:
        await fail(context, failure)
        yield

    scripted.script = script
    body = {**SCRIPTED_CHAT, "stream": is_stream}
    async with scripted_http.post("/v1/chat/completions", json=body) as response:
        code = (await response.json())["error"]["code"]
        assert (response.status, code, response.headers.get("Retry-After")) == told


async def test_a_failure_in_the_middle_is_the_last_event(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """An object with `error`, and no `[DONE]` behind it."""

    async def script(request: Any, context: Any) -> AsyncIterator[Any]:
        yield started(request)
        yield text(request, "a")
        await fail(context, EngineLost("it broke"))

    scripted.script = script
    for path, body in (
        ("/v1/chat/completions", SCRIPTED_CHAT),
        ("/v1/completions", {"model": MODEL, "prompt": "x"}),
    ):
        events = await stream(scripted_http, path, body)
        assert events[-1]["error"] == {
            "message": "it broke",
            "type": "server_error",
            "param": None,
            "code": "engine_lost",
        }


@pytest.mark.parametrize(
    ("data", "headers", "status", "message"),
    [
        (b'{"model": "m",}', {}, 400, "body: is not valid JSON: "),
        (b"", {}, 400, "body: is empty"),
        (b"[]", {}, 400, "body: must be a JSON object"),
        (b'{"model": NaN}', {}, 400, "body: is not valid JSON: "),
        (b"{}", {"Content-Type": "text/plain"}, 415, "Content-Type must be application/json"),
        (b"{}", {}, 400, "model: is required and must be a string"),
    ],
)
async def test_a_body_that_cannot_be_read(
    scripted_http: aiohttp.ClientSession,
    data: bytes,
    headers: dict[str, str],
    status: int,
    message: str,
) -> None:
    """It is refused in OpenAI's form; without a Content-Type it counts as JSON."""
    async with scripted_http.post(
        "/v1/chat/completions", data=data, headers=headers, skip_auto_headers=["Content-Type"]
    ) as response:
        assert response.status == status
        error = (await response.json())["error"]
    assert error["message"].startswith(message)
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "unknown_url"),
        ("POST", "/v1", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", 405, "method_not_supported"),
        ("DELETE", "/v1/models/owner/model", 405, "method_not_supported"),
    ],
)
async def test_other_paths_fail_in_openais_form(
    scripted_http: aiohttp.ClientSession, method: str, path: str, status: int, code: str
) -> None:
    """Before a route is known, too."""
    async with scripted_http.request(method, path) as response:
        assert response.status == status
        assert (await response.json())["error"]["code"] == code


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_client_that_leaves_cancels_every_prompt(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession, is_stream: bool
) -> None:
    """Also those that a whole answer waits for."""
    num_begun = num_cancelled = 0
    all_begun, all_cancelled = asyncio.Event(), asyncio.Event()

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        nonlocal num_begun, num_cancelled
        if is_stream:
            yield started(request)
        num_begun += 1
        if num_begun == len(body["prompt"]):
            all_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            num_cancelled += 1
            if num_cancelled == len(body["prompt"]):
                all_cancelled.set()

    scripted.script = script
    body = {"model": MODEL, "prompt": ["x", "y", "z"], "stream": is_stream}

    async def call() -> None:
        async with scripted_http.post("/v1/completions", json=body) as response:
            await response.read()

    task = asyncio.ensure_future(call())
    await all_begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await all_cancelled.wait()
