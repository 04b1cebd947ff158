"""The content of messages: text, and parts of text."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from ..scripted import MODEL, ScriptedFront


def chat(*contents: object) -> dict[str, Any]:
    """Returns a body with a user's message for every content."""
    messages = [{"role": "user", "content": content} for content in contents]
    return {"model": MODEL, "messages": messages}


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream"])
async def test_content_may_be_parts_of_text(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession, path: str
) -> None:
    """Parts keep their order; what else a part holds is ignored."""
    body = chat(
        "whole",
        [{"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": {}}],
    )
    async with scripted_http.post(path, json=body) as response:
        assert response.status == 200, await response.text()
    (request,) = scripted.requests
    assert [[part.text for part in message.content] for message in request.messages] == [
        ["whole"],
        ["a", "b"],
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "content: is required and must be a string or an array of text parts"),
        (5, "content: must be a string or an array of text parts, got an integer"),
        ({"text": "a"}, "content: must be a string or an array of text parts, got an object"),
        ([], "content: must have at least 1 item, got 0"),
        (["a"], "content[0]: must be an object, got a string"),
        ([{}], "content[0].type: is required and must be a string"),
        ([{"text": "a"}], "content[0].type: is required and must be a string"),
        ([{"type": "text"}], "content[0].text: is required and must be a string"),
        ([{"type": "text", "text": 1}], "content[0].text: must be a string, got an integer"),
        (
            [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}],
            "content[1].type: only parts of text are taken here, got 'image_url'",
        ),
        (
            [{"type": "t" * 200}],
            f"content[0].type: only parts of text are taken here, got '{'t' * 100}'",
        ),
        ([{"type": "text", "text": "a"}] * 257, "content: must have at most 256 items, got 257"),
    ],
)
async def test_other_content_is_refused_by_its_place(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession, content: object, problem: str
) -> None:
    """The refusal names the part that is wrong; the front is not asked."""
    async with scripted_http.post("/api/chat", json=chat("ok", content)) as response:
        assert response.status == 400
        assert await response.json() == {
            "error": f"Bad request: messages[1].{problem}",
            "code": "BAD_REQUEST",
        }
    assert not scripted.requests
