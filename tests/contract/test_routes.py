"""The routes, one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from ..docs.pages import read_page, table_below
from ..surroundings import MODEL_ID
from .existing_client import read_as_existing_client
from .real_service import RealService

ROWS = [
    (method, path.strip("`"), answers)
    for method, path, answers in table_below(read_page("rest.md"), "## Routes")
]
MESSAGES = [{"role": "user", "content": "Say hello."}]
CHAT: dict[str, Any] = {"model": MODEL_ID, "messages": MESSAGES}
PROMPT: dict[str, Any] = {"model": MODEL_ID, "prompt": "One, two, three,"}
BODIES: Mapping[str, dict[str, Any]] = {
    "/api/generate": PROMPT,
    "/api/generate/stream": PROMPT,
    "/api/chat": CHAT,
    "/api/chat/stream": CHAT,
    "/api/completions": PROMPT,
    "/api/completions/stream": PROMPT,
}


def test_the_table_has_every_route() -> None:
    """No row was lost, and nothing takes a body that is not asked for below."""
    assert {path for method, path, _ in ROWS if method == "POST"} == BODIES.keys()
    assert len(ROWS) == 12


@pytest.mark.parametrize(("method", "path", "answers"), ROWS, ids=lambda value: str(value)[:24])
async def test_a_route(service: RealService, method: str, path: str, answers: str) -> None:
    """Each row of the table answers what it says."""
    async with service.http.request(method, path, json=BODIES.get(path)) as response:
        assert response.status == 200, await response.text()
        if answers == "server-sent events":
            assert response.content_type == "text/event-stream"
            key = "content" if path.startswith("/api/chat") else "text"
            assert (await read_as_existing_client(response, key)).text
        elif path.startswith("/health/"):
            said = re.findall(r"`(\{.*?\})`", answers)
            assert await response.text() == said[0]
        elif method == "POST":
            body = await response.json()
            if path != "/api/completions":
                own = set(re.findall(r"`(\w+)`", answers)) - {"role", "content"}
                assert set(body) == own
            assert {"model", "tokens_generated", "finish_reason"} <= set(body)
            assert body["model"] == MODEL_ID
            assert body["tokens_generated"] >= 1
            text = body["message"]["content"] if path == "/api/chat" else body["text"]
            assert text
            if path == "/api/chat":
                assert body["message"] == {"role": "assistant", "content": text}
        elif path == "/api/llms":
            first, *_ = await response.json()
            assert first["id"] == MODEL_ID
        elif path == "/swagger-ui":
            assert response.content_type == "text/html"
        elif path == "/api/openapi.json":
            assert (await response.json())["openapi"].startswith("3.1")
        else:
            assert path == "/metrics"
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")


async def test_the_page_needs_no_network(service: RealService) -> None:
    """The interactive page is there with a slash, too, and all that it loads comes from here."""
    for path in ("/swagger-ui", "/swagger-ui/"):
        async with service.http.get(path) as response:
            page = await response.text()
        links = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert links
        for link in links:
            if not link.startswith("data:"):
                assert link.startswith("/")
                async with service.http.get(link) as response:
                    assert response.status == 200
