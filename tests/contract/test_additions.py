"""What was added to the routes of the previous service."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tokenwire.tracing.trace_context import TraceContext

from ..surroundings import MODEL_ID
from .existing_client import read_as_existing_client
from .real_service import RealService
from .stage import CHAT, PROMPT, Stage

COUNT = {"model": MODEL_ID, "prompt": "One, two, three,"}


async def test_text_parts(service: RealService) -> None:
    """The same question in one piece and in two has the same answer.

    > The content of a chat message may be text parts, `[{"type":"text","text":"…"}]`. Other parts
    > are refused by their place.
    """
    pieces = [
        {"type": "text", "text": "What is the capital "},
        {"type": "text", "text": "of France?"},
    ]
    answers = [
        await service.post(
            "/api/chat", {"model": MODEL_ID, "messages": [{"role": "user", "content": content}]}
        )
        for content in ("What is the capital of France?", pieces)
    ]
    assert answers[0] == answers[1]
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    messages = [{"role": "user", "content": [*pieces, image]}]
    body = await service.post("/api/chat", {"model": MODEL_ID, "messages": messages}, 400)
    assert body["error"] == (
        "Bad request: messages[0].content[2].type: only parts of text are taken here, "
        "got 'image_url'"
    )


async def test_generate_stream(service: RealService) -> None:
    """The deltas together are the answer.

    > `/api/generate/stream` answers as `/api/generate` does, in events of `{"text":"…"}`.
    """
    body = {"model": MODEL_ID, "prompt": "What is the capital of France?"}
    whole = await service.post("/api/generate", body)
    async with service.http.post("/api/generate/stream", json=body) as response:
        assert response.status == 200
        read = await read_as_existing_client(response, "text")
    assert read.text == whole["text"]
    assert all(set(event) == {"text"} for event in read.events[:-1])
    end = read.events[-1]
    assert end["finish_reason"] == whole["finish_reason"]
    assert end["tokens_generated"] == whole["tokens_generated"]


async def test_openai_fields(service: RealService) -> None:
    """Both dialects stand in one answer and say the same.

    > `/api/completions` carries `id`, `object`, `created`, `choices` and `usage` beside its own
    > fields, and its stream carries `choices` beside `text`.
    """
    body = await service.post("/api/completions", COUNT)
    assert body["id"]
    assert body["object"] == "text_completion"
    assert isinstance(body["created"], int)
    (choice,) = body["choices"]
    assert (choice["text"], choice["index"], choice["logprobs"]) == (body["text"], 0, None)
    assert choice["finish_reason"] == body["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == body["tokens_generated"]
    async with service.http.post("/api/completions/stream", json=COUNT) as response:
        read = await read_as_existing_client(response, "text")
    assert read.text == body["text"]
    for event in read.events[:-1]:
        assert [choice["text"] for choice in event["choices"]] == [event["text"]]


async def test_openai_stream(service: RealService) -> None:
    """The chunks are of OpenAI's kind, and say what the whole answer says.

    > With `"stream": true`, `/api/completions` streams OpenAI's events and ends with
    > `data: [DONE]`.
    """
    whole = await service.post("/api/completions", COUNT)
    async with service.http.post("/api/completions", json={**COUNT, "stream": True}) as response:
        assert response.content_type == "text/event-stream"
        events = [event for event in (await response.text()).split("\n\n") if event]
    assert events.pop() == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == whole["text"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-1] == "length"


async def test_openais_own_routes(service: RealService) -> None:
    """The same model answers there; `tests/edge/openai` and `tests/clients` have all of it.

    > `/v1/chat/completions`, `/v1/completions` and `/v1/models` are what OpenAI's clients expect,
    > streams included. Other routes of OpenAI's are a 404 that says what is not served.
    """
    models = await service.get("/v1/models")
    assert [model["id"] for model in models["data"]][:1] == [MODEL_ID]
    text = (await service.post("/api/completions", COUNT))["text"]
    completion = await service.post("/v1/completions", COUNT)
    assert completion["choices"][0]["text"] == text
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    chat = {"model": MODEL_ID, "messages": messages}
    answer = await service.post("/v1/chat/completions", chat)
    assert answer["choices"][0]["message"]["content"] == "The capital of France is Paris."
    async with service.http.post("/v1/chat/completions", json={**chat, "stream": True}) as response:
        assert (await response.text()).endswith("data: [DONE]\n\n")
    body = await service.post("/v1/embeddings", {"model": MODEL_ID, "input": "a"}, 404)
    assert "this server has no embeddings" in body["error"]["message"]


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream", "/api/completions/stream"])
async def test_request_ids(shared_stage: Stage, path: str) -> None:
    """The caller's id where it is sane, and one of our own otherwise.

    > Every error and every stream carries the request's id as `X-Request-Id`, echoed or made.
    """
    shared_stage.engine.allow(100)
    good: dict[str, Any] = CHAT if "chat" in path else PROMPT
    for body, status in ((good, 200), ({**good, "model": "no/such"}, 400), ({}, 400)):
        for sent in ({"X-Request-Id": "caller-1"}, {}):
            async with shared_stage.http.post(path, json=body, headers=sent) as response:
                await response.read()
                assert response.status == status
                told = response.headers["X-Request-Id"]
            assert told == "caller-1" if sent else len(told) == 32
    async with shared_stage.http.get("/nothing") as response:
        assert response.status == 404
        assert response.headers["X-Request-Id"]


async def test_resumes(shared_stage: Stage) -> None:
    """A stream is read on from its first event, by header and by query.

    > With `detach_timeout`, in seconds, a request goes on that long without its client. Each event
    > of its stream has an `id`, and `GET /api/streams/{request_id}` goes on behind the one in
    > `Last-Event-ID` or `?after=`; behind the last it answers 204 ([resume.md](resume.md)). Other
    > streams have no ids.
    """
    shared_stage.engine.allow(100)
    http = shared_stage.http
    async with http.post("/api/chat/stream", json={**CHAT, "detach_timeout": 30}) as response:
        events = (await response.text()).split("\n\n")[:-1]
        path = f"/api/streams/{response.headers['X-Request-Id']}"
    ids = [event.split("\n")[0].removeprefix("id: ") for event in events]
    for headers, query in (({"Last-Event-ID": ids[0]}, ""), ({}, f"?after={ids[0]}")):
        async with http.get(path + query, headers=headers) as response:
            assert response.status == 200
            assert (await response.text()).split("\n\n")[:-1] == events[1:]
    async with http.get(path, headers={"Last-Event-ID": ids[-1]}) as response:
        assert response.status == 204
    async with http.post("/api/chat/stream", json=CHAT) as response:
        assert "id: " not in await response.text()


async def test_traces(shared_stage: Stage) -> None:
    """The engine is told of the caller's trace.

    > `traceparent` is honoured: the trace goes on.
    """
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    shared_stage.engine.allow(100)
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    async with shared_stage.http.post("/api/chat", json=CHAT, headers=headers) as response:
        assert response.status == 200
    told = dict(shared_stage.engine.requests[-1].trace_headers)
    assert TraceContext.read(told["traceparent"], "").trace_id == trace


async def test_ollama(service: RealService) -> None:
    """Its clients read the sentence out of our errors, since theirs are called the same.

    > Ollama's clients, whose `/api/chat` and `/api/generate` mean something else, get a 400 that
    > names what they sent and says where to go; its other routes are a 404 that says so.
    """
    where = "Ollama's API, which is not served here: use OpenAI's, whose base URL ends in /v1"
    body = {"model": MODEL_ID, "prompt": "Hi", "options": {"temperature": 0}}
    answer = await service.post("/api/generate", body, 400)
    assert answer["error"] == f"Bad request: options: belongs to {where}"
    async with service.http.get("/api/tags") as response:
        assert response.status == 404
        assert (await response.json())["error"] == f"no route /api/tags: it belongs to {where}"
