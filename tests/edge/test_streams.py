"""Streams: when they begin, what they carry, and what their client's leaving does."""

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
from tokenwire.generated.tokenwire.v1 import events_pb2

from ..conftest import MODEL_ID
from .conftest import MAX_CONCURRENT
from .scripted import MODEL, ScriptedFront, ended, progress, started, text
from .sse_reading import read_events

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
COMPLETION = {"model": MODEL, "prompt": "Hi"}
GUARD_S = 20
ENDLESS = {
    "model": MODEL_ID,
    "text": "One, two, three,",
    "sampling": {"ignoreEos": True, "maxTokens": 900, "temperature": 0},
}


CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Japan": "Tokyo",
    "Spain": "Madrid",
    "England": "London",
    "Germany": "Berlin",
    "Russia": "Moscow",
    "China": "Beijing",
    "Cuba": "Havana",
    "Greece": "Athens",
    "Scotland": "Edinburgh",
    "Austria": "Vienna",
    "Portugal": "Lisbon",
    "Norway": "Oslo",
    "Sweden": "Stockholm",
    "Hungary": "Budapest",
}


async def endless(_request: Any, _context: Any) -> AsyncIterator[Any]:
    """Accepts nothing and answers nothing: a request that waits or prefills."""
    await asyncio.Event().wait()
    yield


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


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", CHAT),
        ("/api/chat/stream", CHAT),
        ("/api/generate", COMPLETION),
        ("/api/completions", COMPLETION),
        ("/api/completions/stream", COMPLETION),
        ("/api/completions", {**COMPLETION, "stream": True}),
        ("/tokenwire/v1/generate", {"model": MODEL, "text": "Hi"}),
        ("/tokenwire/v1/generate", {"model": MODEL, "text": "Hi", "delivery": "DELIVERY_FINAL"}),
    ],
)
async def test_a_client_that_leaves_cancels_during_prefill(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession, path: str, body: dict[str, Any]
) -> None:
    """A client that hangs up before the first byte of its answer cancels the call."""
    scripted.script = endless
    async with asyncio.timeout(GUARD_S):
        call = asyncio.ensure_future(scripted_http.post(path, json=body).__aenter__())
        await scripted.entered.wait()
        call.cancel()
        await scripted.cancelled.wait()
    with pytest.raises(asyncio.CancelledError):
        await call


@pytest.mark.parametrize(
    ("path", "body"), [("/api/chat/stream", CHAT), ("/api/completions/stream", COMPLETION)]
)
async def test_a_client_that_leaves_cancels_after_the_first_delta(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession, path: str, body: dict[str, Any]
) -> None:
    """A client that hangs up in the middle of its stream cancels the call."""

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        yield text(request, "x")
        await asyncio.Event().wait()

    scripted.script = script
    async with asyncio.timeout(GUARD_S):
        response = await scripted_http.post(path, json=body)
        await response.content.readline()
        response.close()
        await scripted.cancelled.wait()


async def test_a_client_that_stops_reading_is_cut_off(
    scripted: ScriptedFront, scripted_edge: EdgeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that takes nothing for the write timeout loses its stream, and frees the engine."""
    monkeypatch.setattr(sse, "_WRITE_TIMEOUT_S", 0.1)

    async def flood(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        while True:
            yield text(request, "x" * 100_000)

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


async def test_sixteen_streams_do_not_mix(http: aiohttp.ClientSession) -> None:
    """Of sixteen clients at once each gets the answer to its own prompt, under its own id.

    Takes seconds: sixteen answers of the real engine, two at a time.
    """

    async def answer(country: str) -> str:
        body = {
            "model": MODEL_ID,
            "text": f"The capital of {country} is",
            "sampling": {"temperature": 0, "maxTokens": 5},
        }
        headers = {"X-Request-Id": f"id-of-{country}"}
        async with http.post("/tokenwire/v1/generate", json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            assert response.headers["X-Request-Id"] == f"id-of-{country}"
            events = await read_events(response)
        assert events[0]["started"]["requestId"] == f"id-of-{country}"
        deltas = [d for e in events if "deltas" in e for d in e["deltas"]["deltas"]]
        return "".join(d["text"]["text"] for d in deltas if "text" in d)

    answers = await asyncio.gather(*map(answer, CAPITALS))
    for capital, told in zip(CAPITALS.values(), answers, strict=True):
        assert capital in told


async def test_stream_routes_never_queue(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """A stream route asks for a turn at once; a unary route waits as long as the server lets it."""
    for path in ("/api/chat/stream", "/api/chat"):
        async with scripted_http.post(path, json=CHAT) as response:
            assert response.status == 200
    stream, unary = scripted.requests
    assert stream.HasField("max_queue_wait")
    assert not stream.max_queue_wait.ToTimedelta()
    assert not unary.HasField("max_queue_wait")
    assert unary.delivery == events_pb2.DELIVERY_FINAL


async def test_every_delta_is_an_event(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """A message with several deltas is several events; any text survives the framing."""
    parts = ["a\n\nb", "data: x", "\u2028é😀", '"}\n']

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        yield text(request, *parts)
        for event in ended(request, events_pb2.FINISH_REASON_STOP):
            yield event

    scripted.script = script
    async with scripted_http.post("/api/chat/stream", json=CHAT) as response:
        *deltas, end = await read_events(response)
    assert [delta["content"] for delta in deltas] == parts
    assert end["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("reason", "own", "openai"),
    [
        (events_pb2.FINISH_REASON_STOP, "stop", "stop"),
        (events_pb2.FINISH_REASON_EOS, "eos", "stop"),
        (events_pb2.FINISH_REASON_LENGTH, "length", "length"),
        (events_pb2.FINISH_REASON_TIME_LIMIT, "length", "length"),
    ],
)
async def test_finish_reasons(
    scripted: ScriptedFront,
    scripted_http: aiohttp.ClientSession,
    reason: int,
    own: str,
    openai: str,
) -> None:
    """The end is told in the words of each dialect."""

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        for event in ended(request, reason):
            yield event

    scripted.script = script
    async with scripted_http.post("/api/completions/stream", json=COMPLETION) as response:
        (end,) = await read_events(response)
    assert end["finish_reason"] == own
    assert end["choices"][0]["finish_reason"] == openai


async def test_canonical_final_is_one_json_body(http: aiohttp.ClientSession) -> None:
    """Delivery FINAL is the one message as plain JSON, and equals the sum of the stream."""
    request = {**ENDLESS, "sampling": {"temperature": 0, "maxTokens": 6}}
    async with http.post("/tokenwire/v1/generate", json=request) as response:
        events = await read_events(response)
    deltas = [d for e in events if "deltas" in e for d in e["deltas"]["deltas"]]
    final = {**request, "delivery": "DELIVERY_FINAL"}
    async with http.post("/tokenwire/v1/generate", json=final) as response:
        assert response.content_type == "application/json"
        whole = json.loads(await response.text())
    assert list(events[0]) == ["started"]
    assert "finished" in events[-1]
    (choice,) = whole["finished"]["choices"]
    assert choice["text"] == "".join(d["text"]["text"] for d in deltas if "text" in d)
    assert whole["finished"]["usage"]["numCompletionTokens"] == 6


async def test_canonical_models(http: aiohttp.ClientSession) -> None:
    """The model list of the proto's own route is canonical proto-JSON."""
    async with http.get("/tokenwire/v1/models") as response:
        assert response.status == 200
        (model,) = (await response.json())["models"]
    assert model["id"] == MODEL_ID
    assert model["state"] == "MODEL_STATE_SERVING"
    assert model["capabilities"]["chat"] is True
