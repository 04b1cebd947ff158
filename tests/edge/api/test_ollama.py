"""Callers of Ollama's API: told where to go, and nobody else with them."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from ..scripted import MODEL, ScriptedFront

MESSAGES = [{"role": "user", "content": "Hi"}]
BODIES: dict[str, dict[str, Any]] = {
    "/api/generate": {"model": MODEL, "prompt": "Hi"},
    "/api/chat": {"model": MODEL, "messages": MESSAGES},
}
SENTENCE = "Ollama's API, which is not served here: use OpenAI's, whose base URL ends in /v1"


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("body", "headers", "named"),
    [
        (
            {},
            {"User-Agent": "ollama-python/0.6.1 (x86_64 linux) Python/3.11.7"},
            "the header User-Agent belongs",
        ),
        (
            {},
            {"User-Agent": "ollama/0.13.0 (amd64 linux) Go/go1.24"},
            "the header User-Agent belongs",
        ),
        ({}, {"Accept": "application/x-ndjson"}, "the header Accept belongs"),
        ({"options": {"temperature": 0}}, {}, "options belongs"),
        ({"keep_alive": 0}, {}, "keep_alive belongs"),
        ({"keep_alive": "5m", "stream": True}, {}, "keep_alive belongs"),
        ({"format": "json"}, {}, "format belongs"),
        ({"format": {"type": "object"}}, {}, "format belongs"),
        ({"images": ["iVBORw0KGgo="]}, {}, "images belongs"),
        ({"context": [1, 2]}, {}, "context belongs"),
        ({"raw": True}, {}, "raw belongs"),
        ({"think": True}, {}, "think belongs"),
        ({"think": "high"}, {}, "think belongs"),
        ({"options": {}, "stream": False, "images": []}, {}, "options belongs"),
        (
            {"options": {"num_ctx": 2048}, "keep_alive": -1},
            {"User-Agent": "ollama-js/0.6.3"},
            "the header User-Agent, options, keep_alive belong",
        ),
    ],
)
async def test_what_is_meant_for_ollama_is_refused_by_name(
    scripted: ScriptedFront,
    scripted_http: aiohttp.ClientSession,
    *,
    path: str,
    body: dict[str, Any],
    headers: dict[str, str],
    named: str,
) -> None:
    """A 400 names what was sent, its clients by their header, and says which API is served."""
    names, verb = named.rsplit(" ", 1)
    async with scripted_http.post(path, json={**BODIES[path], **body}, headers=headers) as response:
        assert response.status == 400
        assert await response.json() == {
            "error": f"Bad request: {names}: {verb} to {SENTENCE}",
            "code": "BAD_REQUEST",
        }
    assert not scripted.requests


async def test_the_first_call_of_ollamas_own_guide(scripted_http: aiohttp.ClientSession) -> None:
    """Bare `curl -d` sends a form and is told how to send JSON, a stream whose it is not."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    async with scripted_http.post("/api/generate", data=b"{}", headers=form) as response:
        assert response.status == 415
        assert (await response.json())["error"] == (
            "Content-Type must be application/json, got application/x-www-form-urlencoded; "
            "with curl, add -H 'Content-Type: application/json'"
        )
    body = {**BODIES["/api/generate"], "stream": True}
    async with scripted_http.post("/api/generate", json=body) as response:
        assert response.status == 400
        assert (await response.json())["error"] == (
            "Bad request: stream: is not supported here, which is not Ollama's API: "
            "use /api/generate/stream"
        )


async def test_images_in_a_message(scripted_http: aiohttp.ClientSession) -> None:
    """Ollama's images stand in its messages; the first one is named by its place."""
    messages = [*MESSAGES, {**MESSAGES[0], "images": ["iVBO"]}, {**MESSAGES[0], "images": ["R0lG"]}]
    body = {"model": MODEL, "messages": messages}
    async with scripted_http.post("/api/chat", json=body) as response:
        error = (await response.json())["error"]
    assert error == f"Bad request: messages[1].images: belongs to {SENTENCE}"


@pytest.mark.parametrize("path", BODIES)
async def test_other_callers_are_served(scripted_http: aiohttp.ClientSession, path: str) -> None:
    """Fields of those names that ask for nothing, or are somebody else's labels, are ignored."""
    body = {
        "options": "a text",
        "keep_alive": None,
        "format": "text",
        "images": [],
        "context": "a text",
        "raw": False,
        "system": "a label",
        "template": "a label",
        "think": False,
    }
    headers = {
        "User-Agent": "my-ollama-replacement/1.0",
        "Accept": "application/json, application/x-ndjson",
    }
    async with scripted_http.post(path, json={**BODIES[path], **body}, headers=headers) as response:
        assert response.status == 200, await response.text()


async def test_the_streams_are_nobody_elses(scripted_http: aiohttp.ClientSession) -> None:
    """Ollama has no such routes as the other ones here: what they do not know is ignored there."""
    for path in ("/api/chat/stream", "/api/generate/stream", "/api/completions"):
        body = BODIES["/api/chat" if "chat" in path else "/api/generate"]
        body = {**body, "options": {"temperature": 0}, "keep_alive": 0}
        async with scripted_http.post(path, json=body) as response:
            assert response.status == 200, await response.text()


@pytest.mark.parametrize("messages", [None, "x", [None, 5, "x"], [{"images": "x"}]])
async def test_odd_messages_are_refused_as_ever(
    scripted_http: aiohttp.ClientSession, messages: object
) -> None:
    """Whatever stands for the messages, looking through them fails nothing."""
    body = {"model": MODEL, "messages": messages}
    async with scripted_http.post("/api/chat", json=body) as response:
        assert response.status == 400
        assert "Ollama" not in await response.text()
