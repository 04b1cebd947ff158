"""The streams, as the existing clients read them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tokenwire.server.contract.errors import GenerationFailed
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    Started,
    TextDelta,
)

from ..server.scripted_engine import MODEL_ID
from .existing_client import Read, read_as_existing_client
from .stage import CHAT, PROMPT, Stage

STREAMS = [
    ("/api/chat/stream", CHAT, "content"),
    ("/api/completions/stream", PROMPT, "text"),
    ("/api/generate/stream", PROMPT, "text"),
]
EVERY_STREAM = pytest.mark.parametrize(("path", "body", "key"), STREAMS)
GUARD_S = 45.0
# What a careless writer or reader of lines breaks on.
TEXTS = ['say "hi"\n', "\n\ndata: x", "a\r\nb\rc", "\u2028\u2029\u0085", "é😀\\", "[DONE]", "\0"]


@EVERY_STREAM
async def test_deltas(stage: Stage, path: str, body: dict[str, Any], key: str) -> None:
    """Each token that the engine gives arrives before the next one is made.

    > A chat stream has one event for each delta, `data: {"content":"…"}`; that of completions has
    > `data: {"text":"…"}`.

    > Status and headers are sent when the engine has accepted the request: what fails before is
    > answered with the error's own status.

    > The headers say `Cache-Control: no-cache` and `X-Accel-Buffering: no`, and nothing is
    > compressed.

    > The last event is `data: {"done":true,"finish_reason":"…","tokens_generated":…,"model":"…"}`,
    > with neither `content` nor `text` nor `error`. There is no `[DONE]` on these routes.
    """
    headers = {"Accept-Encoding": "gzip, deflate, br"}
    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(stage.http.post(path, json=body, headers=headers).__aenter__())
        await stage.engine.wait_until(running=1)
        assert not asked.done(), "the engine has not begun"
        stage.engine.allow(1)
        async with await asked as response:
            assert response.status == 200
            assert response.content_type == "text/event-stream"
            assert response.headers["Cache-Control"] == "no-cache"
            assert response.headers["X-Accel-Buffering"] == "no"
            assert "Content-Encoding" not in response.headers
            first = await response.content.readline()
            assert first.startswith(b'data: {"' + key.encode() + b'":"0 "')
            stage.engine.allow(10)
            read = await read_as_existing_client(response, key)
    assert read.text == "1 "
    end = read.events[-1]
    assert {name: end[name] for name in ("done", "finish_reason", "tokens_generated", "model")} == {
        "done": True,
        "finish_reason": "length",
        "tokens_generated": 2,
        "model": MODEL_ID,
    }
    assert not {"content", "text", "error"} & set(end)


async def test_the_existing_clients_read_all_of_it(stage: Stage) -> None:
    """Texts full of quotes, line breaks of every kind and words of the protocol arrive whole.

    > A client that reads line by line, takes those that start with `data: `, parses JSON, takes
    > `content` or `text` where it is a string and stops at `error` gets the whole answer, and finds
    > nothing to warn of.
    """
    stage.engine.script = [
        Started(0),
        *(TextDelta(text, 1, (1,)) for text in TEXTS),
        ChoiceFinished(FinishReason.EOS),
        Finished(len(TEXTS), 0),
    ]
    stage.engine.allow(100)
    for path, body, key in STREAMS:
        async with stage.http.post(path, json={**body, "max_tokens": 20}) as response:
            read = await read_as_existing_client(response, key)
        assert read.text == "".join(TEXTS)
        assert read.error is None
        assert read.warnings == []


@EVERY_STREAM
async def test_an_error_in_the_middle(
    stage: Stage, path: str, body: dict[str, Any], key: str
) -> None:
    """The engine dies behind the first token; its reason has a quote to be escaped.

    > An error after the stream began is one event, `data: {"error":"…"}`, and then the end.
    """
    stage.engine.allow(1)
    read = Read()
    async with stage.http.post(path, json=body) as response:
        assert response.status == 200
        line = await response.content.readline()
        assert b'"0 "' in line
        stage.engine.failure = GenerationFailed('no "room"\nleft')
        stage.engine.allow(1)
        await read_as_existing_client(response, key, read)
        assert (await response.content.read()).strip() == b""
    assert read.error == 'Text generation failed: no "room"\nleft'
    assert read.events == [{"error": read.error, "code": "GENERATION_ERROR"}]


async def test_an_error_before_the_first_event(stage: Stage) -> None:
    """Whatever fails before the engine accepted the request has its own status, and no events."""
    for path, body, _ in STREAMS:
        for change, status, code in (
            ({"model": "no/such"}, 400, "UNSUPPORTED_MODEL"),
            ({"temperature": "hot"}, 400, "BAD_REQUEST"),
        ):
            async with stage.http.post(path, json={**body, **change}) as response:
                assert (response.status, response.content_type) == (status, "application/json")
                assert (await response.json())["code"] == code
    stage.engine.failure = GenerationFailed("no")
    for path, body, _ in STREAMS:
        answer = await stage.post(path, body, 500)
        assert answer["error"] == "Text generation failed: no"


async def test_a_client_that_leaves(stage: Stage) -> None:
    """Whoever stops reading, as at an error, costs the engine nothing more."""
    stage.engine.allow(1)
    response = await stage.http.post("/api/chat/stream", json={**CHAT, "max_tokens": 50})
    await response.content.readline()
    response.close()
    await stage.engine.wait_until(running=0, aborted=1)
