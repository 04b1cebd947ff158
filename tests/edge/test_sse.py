"""Streams: when they begin, and how they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from tokenwire.edge import sse
from tokenwire.edge.app import EdgeApp
from tokenwire.server.contract.errors import QueueTimeout

from ..conftest import MODEL_ID
from .conftest import MAX_CONCURRENT
from .scripted import MODEL, ScriptedFront, ended, fail, progress, started, text
from .sse_reading import parse_events, read_events

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
GUARD_S = 20
ENDLESS = {
    "model": MODEL_ID,
    "text": "One, two, three,",
    "sampling": {"ignoreEos": True, "maxTokens": 900, "temperature": 0},
}


async def test_headers_are_sent_when_the_engine_accepted(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """Status and headers arrive with `Started`, before any text; progress alone sends nothing."""
    accept, answer = asyncio.Event(), asyncio.Event()

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield progress(request)
        await accept.wait()
        yield started(request)
        await answer.wait()
        yield text(request, "x")
        for event in ended(request):
            yield event

    scripted.script = script
    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
        headers = tasks.create_task(scripted_http.post("/api/chat/stream", json=CHAT).__aenter__())
        await scripted.entered.wait()
        assert not headers.done()
        accept.set()
        async with await headers as response:
            assert response.status == 200
            answer.set()
            events = await read_events(response)
    assert events[0] == {"content": "x"}
    assert events[1]["done"] is True


@pytest.mark.parametrize("ends_well", [True, False])
async def test_a_caller_who_asks_for_progress_sees_what_he_waits_for(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession, ends_well: bool
) -> None:
    """With `progress` headers come with the first event; a failure then ends the stream."""
    accept = asyncio.Event()

    async def script(request: Any, context: Any) -> AsyncIterator[Any]:
        yield progress(request)
        await accept.wait()
        if not ends_well:
            await fail(context, QueueTimeout("no slot was free in time"))
        yield started(request)
        for event in ended(request):
            yield event

    scripted.script = script
    asked = {"model": MODEL, "text": "Hi", "progress": True}
    async with (
        asyncio.timeout(GUARD_S),
        scripted_http.post("/tokenwire/v1/generate", json=asked) as response,
    ):
        assert response.status == 200
        assert parse_events((await response.content.readline()).decode()) == [
            {"progress": {"queued": {"place": 1}}}
        ]
        accept.set()
        rest = await read_events(response)
    assert ("finished" if ends_well else "error") in rest[-1]


async def test_without_progress_a_failure_in_the_queue_keeps_its_status(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """What nobody asked for is not sent: the failure behind it is a status of its own."""

    async def script(request: Any, context: Any) -> AsyncIterator[Any]:
        yield progress(request)
        await fail(context, QueueTimeout("no slot was free in time"))

    scripted.script = script
    asked = {"model": MODEL, "text": "Hi"}
    async with scripted_http.post("/tokenwire/v1/generate", json=asked) as response:
        assert response.status == 503


@pytest.mark.parametrize("num_characters", [5_000, 100_000])
async def test_a_client_that_stops_reading_is_cut_off(
    scripted: ScriptedFront,
    scripted_edge: EdgeApp,
    monkeypatch: pytest.MonkeyPatch,
    num_characters: int,
) -> None:
    """A client that takes nothing for the write timeout loses its stream, and frees the engine.

    Small deltas fill what is buffered bit by bit; a large one is over it at once.
    """
    monkeypatch.setattr(sse, "_WRITE_TIMEOUT_S", 0.1)

    async def flood(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        while True:
            yield text(request, "x" * num_characters)

    scripted.script = flood
    body = json.dumps(CHAT).encode()
    head = b"POST /api/chat/stream HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    async with asyncio.timeout(GUARD_S):
        _, writer = await asyncio.open_connection("127.0.0.1", scripted_edge.port, limit=1024)
        writer.write(head % len(body) + body)
        await scripted.cancelled.wait()
        writer.transport.abort()


async def test_a_leaving_client_frees_the_engine(http: aiohttp.ClientSession) -> None:
    """With every slot taken a stream finds no turn; once the clients leave, requests are served."""
    async with asyncio.timeout(GUARD_S * 3), AsyncExitStack() as streams:
        for _ in range(MAX_CONCURRENT):
            response = await streams.enter_async_context(
                http.post("/tokenwire/v1/generate", json=ENDLESS)
            )
            assert response.status == 200
            streams.callback(response.close)
        stream = {"model": MODEL_ID, "prompt": "Hi", "max_tokens": 1}
        async with http.post("/api/completions/stream", json=stream) as refused:
            assert refused.status == 503
            assert refused.headers["Retry-After"] == "10"
            assert (await refused.json())["error"] == "Service temporarily at capacity"
        await streams.aclose()
        async with http.post("/api/completions", json=stream) as served:
            assert served.status == 200, await served.text()


async def test_a_stream_without_an_end_is_a_failure(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """A stream that breaks off without its last event is not told as a success."""

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        yield text(request, "a")

    scripted.script = script
    async with scripted_http.post("/api/chat/stream", json=CHAT) as response:
        events = await read_events(response)
    assert events[-1]["code"] == "INTERNAL_ERROR"
