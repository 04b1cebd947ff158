"""Calls to the front, and their ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tokenwire.edge.app import EdgeApp

from ..conftest import MODEL_ID
from .conftest import edge_config
from .scripted import MODEL, ScriptedFront, started, text
from .sse_reading import read_events

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
COMPLETION = {"model": MODEL, "prompt": "Hi"}
GUARD_S = 20
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
