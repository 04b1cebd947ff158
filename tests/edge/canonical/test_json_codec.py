"""Canonical proto-JSON to and from messages."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from tokenwire.edge.canonical.json_codec import CanonicalStream, decode
from tokenwire.edge.errors import EdgeError, failure_of
from tokenwire.generated.tokenwire.v1 import events_pb2, inference_pb2

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


def test_events_are_the_messages_themselves() -> None:
    """An event is its message in canonical JSON: camelCase names, 64-bit numbers as text."""
    started = events_pb2.Started(model="m", num_prompt_tokens=3)
    event = inference_pb2.ChatResponse(started=started, position=2)
    sent = CanonicalStream().encode(event)
    assert sent.startswith(b"data: ")
    assert sent.endswith(b"\n\n")
    value = json.loads(sent[6:])
    assert value == {"started": {"model": "m", "numPromptTokens": 3}, "position": "2"}
    assert decode(value, inference_pb2.ChatResponse) == event


def test_a_failure_ends_a_stream_as_its_status() -> None:
    """The last event of a failed stream holds the `google.rpc.Status`."""
    sent = CanonicalStream().encode_failure(failure_of(EdgeError("DRAINING", "drains")))
    error = json.loads(sent[6:])["error"]
    assert (error["code"], error["message"]) == (14, "drains")
    assert error["details"][0]["reason"] == "DRAINING"
