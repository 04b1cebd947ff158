"""The id, the trace and the deadline of a request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from tokenwire.edge import context
from tokenwire.edge.context import RequestContext
from tokenwire.edge.errors import EdgeError

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


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [("1H", 3600), ("2M", 120), ("30S", 30), ("500m", 0.5), ("1u", 1e-6), ("99999999n", 0.1)],
)
def test_the_units_of_a_deadline(
    monkeypatch: pytest.MonkeyPatch, timeout: str, seconds: float
) -> None:
    """A deadline is told as in gRPC, counts from the request's arrival, and is never below 0."""
    monkeypatch.setattr(context, "time", SimpleNamespace(monotonic=lambda: 50.0))
    assert RequestContext("r1", 50.0, timeout=timeout).remaining_s() == pytest.approx(seconds)
    assert RequestContext("r1", 50.0 - 7200, timeout=timeout).remaining_s() == 0


@pytest.mark.parametrize("timeout", ["", "S", "30", "30s", "-1S", "123456789S", "1.5S", "30S\n"])
def test_other_deadlines_are_refused(timeout: str) -> None:
    """What gRPC would not send is a mistake and no deadline."""
    with pytest.raises(EdgeError, match="grpc-timeout: must be up to 8 digits and a unit"):
        RequestContext("r1", time.monotonic(), timeout=timeout).remaining_s()


def test_a_state_without_its_trace_is_dropped() -> None:
    """`tracestate` means nothing where `traceparent` is missing or malformed."""
    untraced = RequestContext.from_headers({"tracestate": "a=b", "traceparent": "00-nonsense"})
    assert untraced.metadata() == (("x-request-id", untraced.request_id),)


@pytest.mark.parametrize(
    ("headers", "passed"),
    [
        ({"Authorization": "Bearer tw_1"}, {"authorization": "Bearer tw_1"}),
        ({"authorization": "bearer  tw_1"}, {"authorization": "bearer  tw_1"}),
        ({"X-Api-Key": "tw_1"}, {"x-api-key": "tw_1"}),
        (
            {"Authorization": "Bearer tw_1", "X-Api-Key": "tw_2"},
            {"authorization": "Bearer tw_1", "x-api-key": "tw_2"},
        ),
        ({"Authorization": "Basic dXNlcg=="}, {}),
        ({"Authorization": "Bearer " + "x" * 257}, {}),
        ({"X-Api-Key": "é"}, {}),
        ({"X-Api-Key": "a b"}, {}),
        ({"X-Api-Key": ""}, {}),
    ],
)
async def test_what_may_be_a_key_goes_to_the_front(
    scripted: ScriptedFront,
    scripted_http: aiohttp.ClientSession,
    headers: dict[str, str],
    passed: dict[str, str],
) -> None:
    """Both headers as they came; nothing that could not be a key, or break the call."""
    async with scripted_http.post("/api/generate", json=BODY, headers=headers) as response:
        assert response.status == 200
    names = ("authorization", "x-api-key")
    assert {n: scripted.metadata[n] for n in names if n in scripted.metadata} == passed


def test_a_context_shows_no_key() -> None:
    """Whoever logs it, or an error with it, logs no key."""
    shown = repr(RequestContext.from_headers({"x-api-key": "tw_canary"}))
    assert "canary" not in shown
