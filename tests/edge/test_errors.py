"""Every failure of the table, as each dialect writes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import pytest
from google.rpc import code_pb2
from tokenwire.edge.api.routes import API
from tokenwire.edge.canonical.routes import CANONICAL
from tokenwire.edge.dialect import error_response
from tokenwire.edge.errors import EdgeError, failure_of
from tokenwire.error_table import TRAITS
from tokenwire.server.contract.errors import (
    AtCapacity,
    ContextTooLong,
    Draining,
    EngineLost,
    GenerationFailed,
    InferenceError,
    InvalidRequest,
    ModelLoadFailed,
    ModelLoading,
    QueueTimeout,
    QuotaExceeded,
    UnsupportedModel,
)

from .scripted import MODEL, ScriptedFront, fail, started, text
from .sse_reading import read_events

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
CANONICAL_CHAT = {
    "model": MODEL,
    "messages": [{"role": "ROLE_USER", "content": [{"text": "Hi"}]}],
    "delivery": "DELIVERY_FINAL",
}
# What the front raises; status, code and first words of the `/api` body.
Case = tuple[InferenceError, int, str, str]
FAILURES: list[Case] = [
    (InvalidRequest("sampling.top_k", "is wrong"), 400, "BAD_REQUEST", "Bad request: top_k: "),
    (ContextTooLong("messages", 9, 8), 400, "BAD_REQUEST", "Bad request: messages: has 9 tokens"),
    (UnsupportedModel("m", ["n"]), 400, "UNSUPPORTED_MODEL", "Unsupported model: no model 'm'"),
    (AtCapacity("full"), 503, "SERVICE_UNAVAILABLE", "Service unavailable: full"),
    (QueueTimeout("waited"), 503, "SERVICE_UNAVAILABLE", "Service unavailable: waited"),
    (ModelLoading("loads"), 503, "MODEL_LOAD_ERROR", "Failed to load model: loads"),
    (ModelLoadFailed("broken"), 503, "MODEL_LOAD_ERROR", "Failed to load model: broken"),
    (EngineLost(), 503, "SERVICE_UNAVAILABLE", "Service unavailable: the engine of the model"),
    (Draining("drains"), 503, "SERVICE_UNAVAILABLE", "Service unavailable: drains"),
    (GenerationFailed("engine"), 500, "GENERATION_ERROR", "Text generation failed: engine"),
]
KINDS = pytest.mark.parametrize("case", FAILURES, ids=lambda case: type(case[0]).__name__)


def failing(error: InferenceError) -> Any:
    """Returns a script that ends every call at once."""

    async def script(_request: Any, context: Any) -> AsyncIterator[Any]:
        await fail(context, error)
        yield

    return script


@KINDS
async def test_api_errors(
    scripted: ScriptedFront,
    scripted_http: aiohttp.ClientSession,
    case: Case,
) -> None:
    """On `/api` a failure has its status, its code, its first words and its Retry-After."""
    error, status, code, words = case
    scripted.script = failing(error)
    async with scripted_http.post("/api/chat", json=CHAT) as response:
        assert response.status == status
        body = await response.json()
    assert set(body) == {"error", "code"}
    assert body["code"] == code
    assert body["error"].startswith(words)
    # The contract: every 503 of /api says when to try again.
    assert response.headers.get("Retry-After") == ("5" if status == 503 else None)


async def test_every_violation_has_the_callers_name(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """Paths of the proto become names of `/api`, and descriptions stay as they are."""
    scripted.script = failing(
        InvalidRequest(
            "messages[1].content[0].text",
            "is odd; sampling.seed: so is this",
            ("sampling.seed", "is wrong"),
            ("text", "is empty"),
        )
    )
    async with scripted_http.post("/api/chat", json=CHAT) as response:
        body = await response.json()
    assert body["error"] == (
        "Bad request: messages[1].content: is odd; sampling.seed: so is this; "
        "seed: is wrong; prompt: is empty"
    )


@KINDS
async def test_stream_routes_fail_with_their_own_status(
    scripted: ScriptedFront,
    scripted_http: aiohttp.ClientSession,
    case: Case,
) -> None:
    """A stream that never started answers the error's status; without a turn, in its own words."""
    error, status, code, words = case
    scripted.script = failing(error)
    async with scripted_http.post("/api/chat/stream", json=CHAT) as response:
        assert response.status == status
        assert response.content_type == "application/json"
        body = await response.json()
    assert body["code"] == code
    if isinstance(error, AtCapacity | QueueTimeout):
        assert response.headers["Retry-After"] == "10"
        assert body == {
            "error": "Service temporarily at capacity",
            "message": error.message,
            "retry_after_seconds": 10,
            "code": "SERVICE_UNAVAILABLE",
        }
    else:
        assert body["error"].startswith(words)


@KINDS
async def test_canonical_errors(
    scripted: ScriptedFront,
    scripted_http: aiohttp.ClientSession,
    case: Case,
) -> None:
    """On the proto's own routes a failure is its google.rpc.Status, with the table's status."""
    error = case[0]
    scripted.script = failing(error)
    traits = TRAITS[error.reason]
    async with scripted_http.post("/tokenwire/v1/chat", json=CANONICAL_CHAT) as response:
        assert response.status == traits.http_status
        body = await response.json()
    assert body["code"] == traits.grpc_code
    assert body["message"] == error.message
    info = next(d for d in body["details"] if d["@type"].endswith("ErrorInfo"))
    assert (info["reason"], info["domain"]) == (error.reason, "tokenwire")


@pytest.mark.parametrize(
    ("path", "body", "text_of"),
    [
        ("/api/chat/stream", CHAT, lambda event: event["error"]),
        (
            "/api/completions",
            {"model": MODEL, "prompt": "x", "stream": True},
            lambda event: event["error"]["message"],
        ),
        (
            "/tokenwire/v1/chat",
            {**CANONICAL_CHAT, "delivery": "DELIVERY_DELTAS"},
            lambda event: event["error"]["message"],
        ),
    ],
)
async def test_a_failure_after_the_start_is_the_last_event(
    scripted: ScriptedFront,
    scripted_http: aiohttp.ClientSession,
    path: str,
    body: dict[str, Any],
    text_of: Any,
) -> None:
    """A stream that fails on its way ends with one event that tells the error, properly escaped."""

    async def script(request: Any, context: Any) -> AsyncIterator[Any]:
        yield started(request)
        yield text(request, "a")
        await fail(context, EngineLost('it "broke"\nin two'))

    scripted.script = script
    async with scripted_http.post(path, json=body) as response:
        assert response.status == 200
        events = await read_events(response)
    assert text_of(events[-1]).endswith('it "broke"\nin two')
    assert "[DONE]" not in events


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream"])
async def test_an_unforeseen_failure_is_told_in_general_words(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession, path: str
) -> None:
    """What nobody foresaw is a 500 that repeats nothing from the inside."""

    async def script(_request: Any, context: Any) -> AsyncIterator[Any]:
        await context.abort(grpc.StatusCode.UNKNOWN, "Unexpected KeyError: 'secret'")
        yield

    scripted.script = script
    async with scripted_http.post(path, json=CHAT) as response:
        assert response.status == 500
        body = await response.json()
    assert body["code"] == "INTERNAL_ERROR"
    assert body["error"].startswith("Internal error: ")
    assert "secret" not in body["error"]
    assert response.headers["X-Request-Id"]


@pytest.mark.parametrize("reason", sorted(TRAITS))
def test_every_reason_is_written_from_the_table(reason: str) -> None:
    """Statuses, codes, words and retries come from the option of the enum, on every dialect."""
    traits = TRAITS[reason]
    failure = failure_of(EdgeError(reason, "why"))
    api = error_response(failure, API)
    assert api.status == (traits.api_http_status or traits.http_status)
    canonical = error_response(failure, CANONICAL)
    assert canonical.status == traits.http_status
    assert failure.status.code != code_pb2.OK
    prefix = f"{traits.rest_prefix}: " if traits.rest_prefix else ""
    assert isinstance(api.body, bytes)
    assert api.body.startswith(f'{{"error":"{prefix}why"'.encode())
    is_retried = bool(traits.retry_after_s or traits.api_retry_after_s)
    assert ("Retry-After" in api.headers) == is_retried


@pytest.mark.parametrize("path", ["/api/generate", "/tokenwire/v1/generate"])
async def test_the_front_may_know_better_when_to_come_back(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession, path: str
) -> None:
    """The time of the failure itself, rounded up, goes before that of its reason."""

    async def script(_request: Any, context: Any) -> AsyncIterator[Any]:
        await fail(context, QuotaExceeded("used up", limit=1, retry_after_s=16.2))
        yield

    scripted.script = script
    prompt = {"text": "x"} if "v1" in path else {"prompt": "x"}
    async with scripted_http.post(path, json={"model": MODEL, **prompt}) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "17")
