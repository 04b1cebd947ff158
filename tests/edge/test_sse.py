"""Streams: when they begin, and how they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs
from tokenwire.edge import sse
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.config import EdgeConfig
from tokenwire.generated.tokenwire.v1 import events_pb2
from tokenwire.server.contract.errors import EngineLost, QueueTimeout

from ..conftest import MODEL_ID
from .conftest import MAX_CONCURRENT, edge_config
from .scripted import MODEL, ScriptedFront, ended, fail, progress, started, text
from .sse_reading import parse_events, read_events

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
GUARD_S = 45.0
ENDLESS = {
    "model": MODEL_ID,
    "text": "One, two, three,",
    "sampling": {"ignoreEos": True, "maxTokens": 900, "temperature": 0},
}

CANONICAL_CHAT: dict[str, dict[str, Any]] = {
    "/api/chat/stream": {},
    "/tokenwire/v1/chat": {"messages": [{"role": "ROLE_USER", "content": [{"text": "Hi"}]}]},
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
    num_characters: int,
) -> None:
    """A client that takes nothing for the write timeout loses its stream, and frees the engine.

    Small deltas fill what is buffered bit by bit; a large one is over it at once.
    """

    async def flood(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        while True:
            yield text(request, "x" * num_characters)

    scripted.script = flood
    body = json.dumps(CHAT).encode()
    head = b"POST /api/chat/stream HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_HTTP_WRITE_TIMEOUT_S="0.1")
    async with EdgeApp(config) as edge, asyncio.timeout(GUARD_S):
        _, writer = await asyncio.open_connection("127.0.0.1", edge.port, limit=1024)
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


@pytest.mark.parametrize("path", ["/api/chat/stream", "/tokenwire/v1/chat"])
async def test_what_python_takes_for_a_line_end_stays_in_its_line(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession, path: str
) -> None:
    """Clients that split a stream as `str.splitlines` does read the same text."""
    separators = "a\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029z"

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        yield text(request, separators)
        for event in ended(request):
            yield event

    scripted.script = script
    async with scripted_http.post(path, json=CHAT | CANONICAL_CHAT[path]) as response:
        lines = (await response.text()).splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    told = json.dumps(events, ensure_ascii=False)
    assert json.dumps(separators, ensure_ascii=False) in told


@pytest.mark.parametrize(
    ("form", "path", "heartbeat"),
    [
        ("comment", "/api/chat/stream", ": ping\n"),
        ("comment", "/api/completions/stream", ": ping\n"),
        ("comment", "/tokenwire/v1/chat", ": ping\n"),
        ("event", "/api/chat/stream", "data: {}\n\n"),
        ("event", "/tokenwire/v1/chat", "data: {}\n\n"),
    ],
)
async def test_heartbeats_come_while_nothing_else_does(
    scripted: ScriptedFront, form: str, path: str, heartbeat: str
) -> None:
    """Before the first text and between two, in the form that is set; none follows the end."""
    heard, more = asyncio.Event(), asyncio.Event()

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        await heard.wait()
        yield text(request, "x")
        await more.wait()
        for event in ended(request):
            yield event

    scripted.script = script
    config = edge_config(
        LLM_GRPC_TARGET=scripted.target,
        LLM_SSE_HEARTBEAT_S="0.02",
        LLM_SSE_HEARTBEAT_FORM=form,
    )
    asked = {"model": MODEL, "prompt": "x"} if "completions" in path else CHAT
    body = asked | CANONICAL_CHAT.get(path, {})
    async with (
        asyncio.timeout(GUARD_S),
        serving(config) as http,
        http.post(path, json=body) as response,
    ):
        beat = heartbeat.encode()
        stream = await response.content.readuntil(beat) + await response.content.readuntil(beat)
        heard.set()
        stream += await response.content.readuntil(b"x") + await response.content.readuntil(beat)
        more.set()
        told = (stream + await response.read()).decode()
    assert told.rstrip("\n").endswith("}")
    for line in told.replace(heartbeat, "").splitlines():
        assert not line or json.loads(line.removeprefix("data: "))


async def test_headers_come_after_a_while_though_the_engine_says_nothing(
    scripted: ScriptedFront,
) -> None:
    """A proxy that would give up sees an answer; a failure is then the stream's last event."""
    fails = asyncio.Event()

    async def script(_request: Any, context: Any) -> AsyncIterator[Any]:
        await fails.wait()
        await fail(context, EngineLost())
        yield

    scripted.script = script
    config = edge_config(
        LLM_GRPC_TARGET=scripted.target, LLM_SSE_HEADERS_S="0.02", LLM_SSE_HEARTBEAT_S="0.02"
    )
    async with (
        asyncio.timeout(GUARD_S),
        serving(config) as http,
        http.post("/api/chat/stream", json=CHAT) as response,
    ):
        assert response.status == 200
        assert await response.content.readline() == sse.COMMENT
        fails.set()
        *beats, last = (await response.text()).removesuffix("\n\n").split("\n")
    assert set(beats) <= {": ping"}
    assert json.loads(last.removeprefix("data: "))["code"] == "SERVICE_UNAVAILABLE"


async def test_without_that_time_headers_wait_for_the_engine(scripted: ScriptedFront) -> None:
    """With 0 the status of a late failure is its own."""
    waited = asyncio.Event()

    async def script(_request: Any, context: Any) -> AsyncIterator[Any]:
        await waited.wait()
        await fail(context, EngineLost())
        yield

    scripted.script = script
    config = edge_config(
        LLM_GRPC_TARGET=scripted.target, LLM_SSE_HEADERS_S="0", LLM_SSE_HEARTBEAT_S="0.001"
    )
    async with asyncio.timeout(GUARD_S), serving(config) as http, asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(http.post("/api/chat/stream", json=CHAT).__aenter__())
        await scripted.entered.wait()
        async with http.get("/health/live"):
            waited.set()  # heartbeats would have been due by now
        assert (await answer).status == 503
        (await answer).close()


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream", "/tokenwire/v1/chat"])
@pytest.mark.parametrize("is_queued", [True, False], ids=["queued", "prefill"])
@pytest.mark.parametrize("leaves", ["closes", "resets", "half-closes", "pipelines"])
async def test_a_client_that_leaves_before_the_first_byte_cancels(
    scripted: ScriptedFront, scripted_edge: EdgeApp, path: str, is_queued: bool, leaves: str
) -> None:
    """However it leaves, whatever it waits for, and though a second request stands behind it."""

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        if is_queued:
            yield progress(request)
        elif request.delivery != events_pb2.DELIVERY_FINAL:
            yield started(request)
        await asyncio.Event().wait()

    scripted.script = script
    body = json.dumps(CHAT | CANONICAL_CHAT.get(path, {})).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with asyncio.timeout(GUARD_S):
        _, writer = await asyncio.open_connection("127.0.0.1", scripted_edge.port)
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" + head + body)
        if leaves == "pipelines":
            writer.write(head + body)
        await scripted.entered.wait()
        if leaves == "half-closes":
            writer.write_eof()
        elif leaves == "resets":
            writer.transport.abort()
        else:
            writer.close()
        await scripted.cancelled.wait()
        writer.transport.abort()
    assert len(scripted.requests) == 1


async def test_a_client_that_leaves_behind_the_last_event_has_not_left(
    scripted: ScriptedFront, scripted_edge: EdgeApp
) -> None:
    """Clients hang up as soon as they have read the end; their requests are counted as served."""

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        for event in ended(request):
            yield event
        await asyncio.sleep(0.05)  # a busy front ends the call this much behind its last message

    scripted.script = script
    body = json.dumps(CHAT).encode()
    head = b"POST /api/chat/stream HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    with capture_logs() as lines:
        async with asyncio.timeout(GUARD_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", scripted_edge.port)
            writer.write(head % len(body) + body)
            await reader.readuntil(b'"done":true')
            writer.transport.abort()
        metrics_path = f"http://127.0.0.1:{scripted_edge.port}/metrics"
        async with aiohttp.ClientSession() as http, http.get(metrics_path):
            pass  # the request before has ended by then
    told = [line for line in lines if line.get("route") == "/api/chat/stream"]
    assert [line["status"] for line in told] == [200]


@asynccontextmanager
async def serving(config: EdgeConfig) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of an edge of its own."""
    async with (
        EdgeApp(config) as edge,
        aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
    ):
        yield http
