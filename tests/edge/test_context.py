"""The id, the trace and the deadline of a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from .scripted import MODEL, ScriptedFront

BODY = {"model": MODEL, "prompt": "x"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_the_callers_request_id_comes_back(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """A sane id goes to the front and back to the caller; the trace goes with it."""
    headers = {"X-Request-Id": "abc-1", "traceparent": TRACE, "tracestate": "a=b"}
    async with scripted_http.post("/api/generate", json=BODY, headers=headers) as response:
        assert response.headers["X-Request-Id"] == "abc-1"
    metadata = scripted.metadata
    assert metadata["x-request-id"] == "abc-1"
    assert (metadata["traceparent"], metadata["tracestate"]) == (TRACE, "a=b")


@pytest.mark.parametrize("sent", [None, "", "a b", "x" * 129, "é", "a\tb"])
async def test_other_requests_get_an_id(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession, sent: str | None
) -> None:
    """Without an id, or with one that is not sane, the edge makes one, also for streams."""
    headers = {} if sent is None else {"X-Request-Id": sent, "traceparent": "00-nonsense"}
    body = {"model": MODEL, "prompt": "x"}
    async with scripted_http.post(
        "/api/completions/stream", json=body, headers=headers
    ) as response:
        made = response.headers["X-Request-Id"]
    assert len(made) == 32
    assert scripted.metadata["x-request-id"] == made
    assert "traceparent" not in scripted.metadata


async def test_a_deadline_travels_on(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """The header `grpc-timeout` becomes the deadline of the call; without it there is none."""
    headers = {"grpc-timeout": "30S"}
    async with scripted_http.post("/api/generate", json=BODY, headers=headers) as response:
        assert response.status == 200
    assert scripted.remaining_s is not None
    assert 0 < scripted.remaining_s <= 30
    async with scripted_http.post("/api/generate", json=BODY) as response:
        assert response.status == 200
    assert scripted.remaining_s is None


async def test_a_deadline_that_passes_is_504(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """A call that outlives its deadline is answered 504."""

    async def endless(_request: Any, _context: Any) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield

    scripted.script = endless
    headers = {"grpc-timeout": "50m"}
    async with scripted_http.post("/api/generate", json=BODY, headers=headers) as response:
        assert response.status == 504
        assert (await response.json())["code"] == "DEADLINE_EXCEEDED"


async def test_a_malformed_deadline_is_named(scripted_http: aiohttp.ClientSession) -> None:
    """A deadline that cannot be read is a 400 that names its header."""
    headers = {"grpc-timeout": "soon"}
    async with scripted_http.post("/api/generate", json=BODY, headers=headers) as response:
        assert response.status == 400
        assert "grpc-timeout: " in (await response.json())["error"]
