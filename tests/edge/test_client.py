"""Calls to the front, and their ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import aiohttp
import grpc
import pytest
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.client import FrontClient
from tokenwire.edge.context import RequestContext
from tokenwire.edge.errors import EdgeError
from tokenwire.generated.tokenwire.v1 import inference_pb2

from ..conftest import MODEL_ID
from .conftest import edge_config
from .scripted import MODEL, ScriptedFront, ended, final, started, text
from .sse_reading import read_events

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
COMPLETION = {"model": MODEL, "prompt": "Hi"}
GUARD_S = 45.0
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


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream"])
async def test_a_front_that_cancels_is_503(scripted: ScriptedFront, path: str) -> None:
    """A call that the gRPC of a stopping front cancelled is answered all the same."""

    async def cancel(_request: Any, context: Any) -> AsyncIterator[Any]:
        await context.abort(grpc.StatusCode.CANCELLED)
        yield

    scripted.script = cancel
    async with (
        EdgeApp(edge_config(LLM_GRPC_TARGET=scripted.target)) as app,
        aiohttp.ClientSession(f"http://127.0.0.1:{app.port}") as http,
        http.post(path, json=CHAT) as response,
    ):
        assert response.status == 503
        assert "the inference server ended the call" in await response.text()


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream", "/api/llms"])
async def test_an_unreachable_front_is_503(path: str) -> None:
    """Without a front the edge answers 503 and tells no address of the inside."""
    async with (
        EdgeApp(edge_config(LLM_GRPC_TARGET="127.0.0.1:1")) as edge,
        aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
        http.request("GET" if path == "/api/llms" else "POST", path, json=CHAT) as response,
    ):
        assert response.status == 503
        assert response.headers["Retry-After"] == "5"
        body = await response.json()
    assert body["code"] == "SERVICE_UNAVAILABLE"
    assert body["error"].startswith("Service unavailable: ")
    assert "127.0.0.1" not in body["error"]


QUESTION = inference_pb2.ChatRequest(model=MODEL)


@asynccontextmanager
async def opened(target: str) -> AsyncIterator[FrontClient]:
    """A client of its own for one test."""
    client = FrontClient(target)
    try:
        yield client
    finally:
        await client.close()


async def test_closing_the_events_cancels_the_call(scripted: ScriptedFront) -> None:
    """Whoever stops reading ends the call."""

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        await asyncio.Event().wait()

    scripted.script = script
    async with asyncio.timeout(GUARD_S), opened(scripted.target) as client:
        events = client.events(client.stub.Chat, QUESTION, RequestContext("r1", time.monotonic()))
        async with aclosing(events):
            await anext(events)
        await scripted.cancelled.wait()


async def test_calls_that_are_ended_say_that_the_server_drains(scripted: ScriptedFront) -> None:
    """`end_calls` fails every running stream, also one that has not begun."""
    scripted.script = endless
    context = RequestContext("r1", time.monotonic())
    async with asyncio.timeout(GUARD_S), opened(scripted.target) as client:
        call = asyncio.ensure_future(client.final(client.stub.Chat, QUESTION, context))
        await scripted.entered.wait()
        client.end_calls()
        with pytest.raises(EdgeError) as caught:
            await call
    assert caught.value.reason == "DRAINING"


@pytest.mark.parametrize("num_messages", [0, 2])
async def test_a_final_call_answers_one_message(scripted: ScriptedFront, num_messages: int) -> None:
    """A front that answers none, or more than one, is a failure and no answer."""

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        for _ in range(num_messages):
            yield final(request, "ab")

    scripted.script = script
    context = RequestContext("r1", time.monotonic())
    async with opened(scripted.target) as client:
        with pytest.raises(RuntimeError, match=f"answered {num_messages} messages"):
            await client.final(client.stub.Chat, QUESTION, context)


async def test_a_unary_call_has_a_deadline_of_its_own(scripted: ScriptedFront) -> None:
    """Without a caller's deadline it is bounded; a shorter one of the caller holds."""
    request = inference_pb2.ListModelsRequest()
    async with opened(scripted.target) as client:
        for timeout, less_than_s in ((None, 10), ("60S", 10), ("2S", 4)):
            context = RequestContext("r1", time.monotonic(), timeout=timeout)
            await client.unary(client.stub.ListModels, request, context)
            assert scripted.remaining_s is not None
            assert scripted.remaining_s < less_than_s


async def test_other_credentials_leave_running_calls_alone(scripted: ScriptedFront) -> None:
    """A call goes on over the channel that it began on; new ones go over another."""
    goes_on = asyncio.Event()

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        await goes_on.wait()
        for event in ended(request):
            yield event

    scripted.script = script
    context = RequestContext("r1", time.monotonic())
    async with asyncio.timeout(GUARD_S), opened(scripted.target) as client:
        events = client.events(client.stub.Chat, QUESTION, context)
        async with aclosing(events):
            await anext(events)
            before = client.stub
            client.renew(None)
            assert client.stub is not before
            await client.unary(client.stub.ListModels, inference_pb2.ListModelsRequest(), context)
            goes_on.set()
            assert [event.WhichOneof("event") async for event in events][-1] == "finished"


async def test_closing_ends_calls_of_earlier_channels(scripted: ScriptedFront) -> None:
    """What still runs with earlier credentials ends with the client."""

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        await asyncio.Event().wait()

    scripted.script = script
    context = RequestContext("r1", time.monotonic())
    async with asyncio.timeout(GUARD_S), opened(scripted.target) as client:
        events = client.events(client.stub.Chat, QUESTION, context)
        await anext(events)
        client.renew(None)
        await client.close()
        await scripted.cancelled.wait()
        with pytest.raises(EdgeError) as ended_by_us:
            await anext(events)
    assert ended_by_us.value.reason == "DRAINING"


class WatchedCall:
    """A call that says nothing until it is cancelled, and knows whether its read was, instead."""

    def __init__(self) -> None:
        self.is_read = asyncio.Event()
        self.read_was_cancelled = False
        self._ended = asyncio.Event()

    def cancel(self) -> bool:
        self._ended.set()
        return True

    async def __aiter__(self) -> AsyncIterator[Any]:
        self.is_read.set()
        try:
            await self._ended.wait()
        except asyncio.CancelledError:
            self.read_was_cancelled = True
            raise
        raise asyncio.CancelledError  # as a call of gRPC ends
        yield


async def test_a_client_that_leaves_ends_the_call_and_not_its_read(
    scripted: ScriptedFront,
) -> None:
    """A read that is cancelled costs some memory of gRPC, for good."""
    call = WatchedCall()
    async with asyncio.timeout(GUARD_S), opened(scripted.target) as front:
        events = front.events(
            lambda *_, **__: call,
            inference_pb2.ChatRequest(),
            RequestContext("r1", time.monotonic()),
        )

        async def read() -> list[Any]:
            async with aclosing(events):
                return [event async for event in events]

        answering = asyncio.create_task(front.answer(read()))
        await call.is_read.wait()
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
    assert not call.read_was_cancelled


async def test_a_client_that_leaves_an_answer_without_calls_ends_it(
    scripted: ScriptedFront,
) -> None:
    """Where nothing was asked of the front yet, the answer itself is cancelled."""
    begun, was_cancelled = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.set()
            raise

    async with asyncio.timeout(GUARD_S), opened(scripted.target) as front:
        answering = asyncio.create_task(front.answer(wait()))
        await begun.wait()
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
    assert was_cancelled.is_set()
