"""Streams of `/api` that are resumed, before a real front with a scripted engine."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from tokenwire.edge.app import EdgeApp
from tokenwire.generated.tokenwire.v1 import events_pb2
from tokenwire.server.contract.errors import ResumeExpired, TakenOver

from ...cutting_proxy import NEVER, CuttingProxy, pace
from ...server.fronts import Client, start_front
from ...server.scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher
from ..conftest import edge_config
from ..event_source import EventSource
from ..scripted import MODEL, ScriptedFront, ended, fail, started, text

GUARD_S = 60
NUM_TOKENS = 30
WHOLE = "".join(f"{number} " for number in range(NUM_TOKENS))
KEPT: dict[str, Any] = {"model": MODEL_ID, "max_tokens": NUM_TOKENS, "detach_timeout": 60}
CHAT = {**KEPT, "messages": [{"role": "user", "content": "Hi"}]}
PROMPT = {**KEPT, "prompt": "Hi"}
STREAMS = pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        ("/api/chat/stream", CHAT, "content"),
        ("/api/completions/stream", PROMPT, "text"),
        ("/api/generate/stream", PROMPT, "text"),
    ],
)


@dataclass
class Stand:
    """A service before a scripted engine, and a proxy before it."""

    front: Client
    engine: ScriptedEngine
    proxy: CuttingProxy
    http: aiohttp.ClientSession

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.proxy.port}"

    async def begin(self, path: str, body: dict[str, Any]) -> str:
        """Begins a stream, leaves it with its first event, and returns its id."""
        self.engine.allow(1)
        async with self.http.post(path, json=body) as response:
            assert response.status == 200, await response.text()
            await response.content.readuntil(b"\n\n")
            return response.headers["X-Request-Id"]


@asynccontextmanager
async def standing(cuts: Iterator[int] | None = None) -> AsyncGenerator[Stand]:
    """Starts it; each connection over the proxy is cut behind the next number of bytes."""
    engine = ScriptedEngine(context_length=10_000)
    cuts = cuts or iter(())
    async with (
        asyncio.timeout(GUARD_S),
        start_front(ScriptedLauncher(engine).prepare) as front,
        EdgeApp(edge_config(LLM_GRPC_TARGET=f"127.0.0.1:{front.app.port}")) as edge,
        CuttingProxy(edge.port, lambda: next(cuts, NEVER)).running() as proxy,
        aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
    ):
        yield Stand(front, engine, proxy, http)


@STREAMS
async def test_browser_that_comes_back_misses_nothing(
    path: str, body: dict[str, Any], key: str
) -> None:
    """Whatever byte its connections are cut behind, an EventSource gets the whole answer once.

    Then it comes back once more, and is told to stop.
    """
    chance = random.Random(path)
    cuts = iter([chance.randrange(300, 900) for _ in range(10)])
    async with standing(cuts) as stand:
        source = EventSource(f"/api/streams/{await stand.begin(path, body)}")
        pacing = asyncio.create_task(pace(stand.engine, stand.proxy, NUM_TOKENS))
        await source.run(stand.base)
        pacing.cancel()
        num_cuts = stand.proxy.num_cuts
        assert len(stand.engine.requests) == 1
    *texts, end = source.data
    assert "".join(said[key] for said in texts) == WHOLE
    assert (end["done"], end["finish_reason"], end["model"]) == (True, "length", MODEL_ID)
    assert end["tokens_generated"] == NUM_TOKENS
    assert (source.last_id, source.status) == ("end", 204)
    assert num_cuts >= 2


@pytest.mark.faults
async def test_hundred_cuts_over_one_answer() -> None:
    """The same with a hundred cuts."""
    chance = random.Random(4)
    cuts = iter([chance.randrange(20, 700) for _ in range(100)])
    num_tokens = 500
    async with standing(cuts) as stand:
        request_id = await stand.begin("/api/chat/stream", {**CHAT, "max_tokens": num_tokens})
        source = EventSource(f"/api/streams/{request_id}")
        pacing = asyncio.create_task(pace(stand.engine, stand.proxy, num_tokens))
        await source.run(stand.base)
        pacing.cancel()
        assert stand.proxy.num_cuts == 100
    expected = "".join(f"{number} " for number in range(num_tokens))
    assert "".join(said["content"] for said in source.data[:-1]) == expected


@STREAMS
async def test_resume_behind_any_id_gives_the_rest(
    path: str, body: dict[str, Any], key: str
) -> None:
    """From every event on, the last text's too, what follows is what followed then."""
    async with standing() as stand:
        stand.engine.allow(NUM_TOKENS)
        async with stand.http.post(path, json=body) as response:
            ids: list[str] = []
            async for line in response.content:
                if line.startswith(b"id: "):
                    ids.append(line.removeprefix(b"id: ").decode().strip())
            request_id = response.headers["X-Request-Id"]
        assert ids[-1] == "end"
        for event_id in ids[:-1]:
            rest = EventSource(f"/api/streams/{request_id}?after={event_id}")
            await rest.run(stand.base)
            assert rest.data[-1]["finish_reason"] == "length"
            rest_text = "".join(said[key] for said in rest.data[:-1])
            assert WHOLE.endswith(rest_text)
            assert len(rest.data) <= len(ids)


@STREAMS
async def test_end_that_was_told_elsewhere_has_no_reason(
    path: str, body: dict[str, Any], key: str
) -> None:
    """Behind the end of the text, by a position alone as other dialects tell it, the rest comes."""
    async with standing() as stand:
        stand.engine.allow(NUM_TOKENS)
        async with stand.http.post(path, json=body) as response:
            said = await response.text()
            request_id = response.headers["X-Request-Id"]
        position, _, reason = re.findall(r"id: (\d+)(-)(\d)", said)[-1]
        assert key in said
        assert reason
        rest = EventSource(f"/api/streams/{request_id}?after={position}")
        await rest.run(stand.base)
    (end,) = rest.data
    assert (end["done"], end["finish_reason"]) == (True, None)


@pytest.mark.parametrize("body", [{}, {"detach_timeout": None}, {"detach_timeout": 0}])
async def test_stream_that_is_not_kept_has_no_ids(
    scripted_http: aiohttp.ClientSession, body: dict[str, Any]
) -> None:
    """A client that did not ask for it gets the lines that it always got."""
    asked = {"model": MODEL, "messages": CHAT["messages"], **body}
    async with scripted_http.post("/api/chat/stream", json=asked) as response:
        lines = (await response.text()).splitlines()
    assert all(line == "" or line.startswith("data: ") for line in lines)


async def test_openais_streams_have_no_ids(scripted_http: aiohttp.ClientSession) -> None:
    """Neither has the stream of `/api/completions`, which is OpenAI's, whatever was asked."""
    asked = {"model": MODEL, "prompt": "Hi", "stream": True, "detach_timeout": 30}
    async with scripted_http.post("/api/completions", json=asked) as response:
        assert "id: " not in await response.text()


async def test_time_is_seconds(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """`detach_timeout` is a number of seconds, on the routes that answer at once, too."""
    asked = {"model": MODEL, "messages": CHAT["messages"], "detach_timeout": 1.5}
    for path in ("/api/chat", "/api/chat/stream"):
        async with scripted_http.post(path, json=asked) as response:
            assert response.status == 200
    assert [request.detach_timeout.ToMilliseconds() for request in scripted.requests] == [1500] * 2


async def test_texts_of_one_message_are_one_event(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """A message is told whole or not at all: only then is its position that of what was told."""

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        message = text(request, "a", "b")
        message.deltas.deltas.add().finished.finish_reason = events_pb2.FINISH_REASON_STOP
        message.position = 3
        yield message
        yield ended(request)[-1]

    scripted.script = script
    asked = {"model": MODEL, "messages": CHAT["messages"], "detach_timeout": 1}
    async with scripted_http.post("/api/chat/stream", json=asked) as response:
        lines = (await response.text()).splitlines()
    assert lines[0] == f"id: 3-{events_pb2.FINISH_REASON_STOP}"
    assert lines[1] == 'data: {"content":"ab"}'
    assert lines[3] == "id: end"


async def test_what_is_not_kept_is_gone() -> None:
    """A request that nobody knows is a 410, and what is not kept of one tells the oldest."""
    async with standing() as stand:
        async with stand.http.get("/api/streams/nobody") as response:
            assert response.status == 410
            unknown = await response.json()
        request_id = await stand.begin("/api/chat/stream", CHAT)
        stand.engine.allow(NUM_TOKENS)
        await stand.engine.wait_until(running=0)
        stand.front.app._kept.find("Chat", request_id, "").log.trim(600)
        async with stand.http.get(f"/api/streams/{request_id}?after=1") as response:
            assert response.status == 410
            expired = await response.json()
    assert unknown["code"] == expired["code"] == "RESUME_EXPIRED"
    assert "nobody" in unknown["error"]
    assert "the oldest is" in expired["error"]


@pytest.mark.parametrize("after", ["end", "1"])
async def test_malformed_deadline_is_told_wherever_the_client_is(
    scripted_http: aiohttp.ClientSession, after: str
) -> None:
    """Also where there is nothing more to wait for."""
    path = f"/api/streams/r1?after={after}"
    async with scripted_http.get(path, headers={"grpc-timeout": "soon"}) as response:
        assert response.status == 400
        assert "grpc-timeout" in (await response.json())["error"]


@pytest.mark.parametrize(
    "after", ["x", "-1", "1-99", "1-6", "1-01", "1.5", "9" * 30, "end ", "\u0661"]
)
async def test_what_is_no_id_is_refused(scripted_http: aiohttp.ClientSession, after: str) -> None:
    """An id that no event has is a 400 that names where it stood."""
    for headers, params, name in (
        ({"Last-Event-ID": after.strip() + "!"}, {}, "Last-Event-ID"),
        ({}, {"after": after}, "after"),
    ):
        async with scripted_http.get("/api/streams/r1", headers=headers, params=params) as response:
            assert response.status == 400
            assert name in (await response.json())["error"]


async def test_position_that_was_never_told_is_named() -> None:
    """The front's words for it are the caller's."""
    async with standing() as stand:
        request_id = await stand.begin("/api/chat/stream", CHAT)
        async with stand.http.get(f"/api/streams/{request_id}?after=99") as response:
            assert response.status == 400
            body = await response.json()
    assert body["error"].startswith("Bad request: after: must be a position that was sent")


async def test_older_of_two_browsers_stops() -> None:
    """It hears that another took the stream over, and does not take it back."""
    async with standing() as stand:
        request_id = await stand.begin("/api/chat/stream", CHAT)
        older, newer = (EventSource(f"/api/streams/{request_id}") for _ in range(2))
        reading = asyncio.create_task(older.run(stand.base))
        await older.opened.wait()
        taking = asyncio.create_task(newer.run(stand.base))
        await reading
        stand.engine.allow(NUM_TOKENS)
        await taking
    assert older.data[-1]["code"] == "TAKEN_OVER"
    assert (older.last_id, older.status) == ("end", 204)
    assert "".join(said["content"] for said in newer.data[:-1]) == WHOLE


@pytest.mark.parametrize("error", [TakenOver(), ResumeExpired(1, 2)])
async def test_error_that_ends_the_request_is_the_last_event(
    scripted: ScriptedFront,
    scripted_http: aiohttp.ClientSession,
    error: Any,
) -> None:
    """Its id says that there is nothing to come back for."""

    async def script(request: Any, context: Any) -> AsyncIterator[Any]:
        yield started(request)
        await fail(context, error)

    scripted.script = script
    async with scripted_http.get("/api/streams/r1") as response:
        transcript = await response.text()
    assert "id: end" in transcript
    assert error.reason in transcript


async def test_lost_front_is_no_end(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """Where the edge loses the front the client comes back, behind what it has."""
    stopping: list[asyncio.Task[None]] = []

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        # Not awaited here: the server would cancel this call, and with it its own end.
        stopping.append(asyncio.create_task(scripted._server.stop(0)))
        await asyncio.Event().wait()

    scripted.script = script
    async with scripted_http.get("/api/streams/r1") as response:
        transcript = await response.text()
    await stopping[0]
    assert "error" in transcript
    assert "id:" not in transcript
