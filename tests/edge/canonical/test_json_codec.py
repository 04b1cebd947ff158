"""Canonical proto-JSON to and from messages."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from ..scripted import MODEL


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("generate", {"text": 5}, "text"),
        ("generate", {"text": "x", "sampling": {"temperature": "hot"}}, "sampling.temperature"),
        ("generate", {"text": "x", "sampling": {"seed": 2**40}}, "sampling.seed"),
        ("generate", {"text": "x", "sampling": {"topK": 1.5}}, "sampling.topK"),
        ("generate", {"text": "x", "sampling": 5}, "sampling"),
        ("generate", {"text": "x", "sampling": []}, "sampling"),
        ("generate", {"text": "x", "sampling": "abc"}, "sampling"),
        ("generate", {"text": "x", "sampling": {"stop": "x"}}, "sampling.stop"),
        ("generate", {"text": "x", "sampling": {"stop": [1]}}, "sampling.stop"),
        ("generate", {"text": "x", "sampling": {"logitBias": {"x": 1}}}, "sampling.logitBias"),
        ("generate", {"text": "x", "nothing": 1}, "nothing"),
        ("generate", {"text": "x", "sampling": {"heat": 1}}, "sampling.heat"),
        ("generate", {"text": "x", "tokenIds": {"ids": [1]}}, "prompt"),
        ("generate", {"text": "x", "delivery": "SOON"}, "delivery"),
        ("generate", {"text": "x", "timeLimit": 5}, "timeLimit"),
        ("generate", {"text": "x", "timeLimit": "5 minutes"}, "timeLimit"),
        ("chat", {"messages": [{"role": "user"}]}, "messages[0].role"),
        ("chat", {"messages": [{"role": "ROLE_USER", "content": "x"}]}, "messages[0].content"),
        ("chat", {"messages": [{"content": [{"image": {"data": 5}}]}]}, "messages[0].content[0]"),
        ("chat", {"messages": {"role": "ROLE_USER"}}, "messages"),
        ("chat", {"messages": [None]}, "messages[0]"),
    ],
)
async def test_canonical_json_is_strict(
    scripted_http: aiohttp.ClientSession, path: str, body: dict[str, Any], field: str
) -> None:
    """What is not the message in canonical JSON is a 400 whose details name the field."""
    whole = {"model": MODEL, **body}
    async with scripted_http.post(f"/tokenwire/v1/{path}", json=whole) as response:
        assert response.status == 400, await response.text()
        status = await response.json()
    assert status["code"] == 3
    (violation,) = (v for d in status["details"] for v in d.get("fieldViolations", ()))
    assert violation["field"].startswith(field), status
    assert len(json.dumps(status)) < 1500
