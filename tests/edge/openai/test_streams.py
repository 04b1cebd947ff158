"""The events of OpenAI's streams."""

from __future__ import annotations

from typing import Any

import pytest
from tokenwire.edge.errors import EdgeError, failure_of
from tokenwire.edge.openai.json_codec import CompletionHead
from tokenwire.edge.openai.streams import CompletionStream
from tokenwire.generated.tokenwire.v1 import events_pb2, inference_pb2

from ..scripted import MODEL, ended, started, text
from ..sse_reading import parse_events

REQUEST = inference_pb2.GenerateRequest()
HEAD = {"id": "cmpl-r1", "object": "text_completion", "created": 7, "model": MODEL}


def choice(said: str, reason: str | None = None) -> dict[str, Any]:
    """Returns the choice that an event holds."""
    return {"text": said, "index": 0, "finish_reason": reason, "logprobs": None}


@pytest.mark.parametrize("includes_usage", [False, True])
def test_a_stream_is_chunks_and_done(includes_usage: bool) -> None:
    """A chunk for every text, one that tells the end, on request one with usage, and `[DONE]`."""
    stream = CompletionStream(CompletionHead("r1", 7), includes_usage=includes_usage)
    events = (
        started(REQUEST),
        text(REQUEST, "a", "", "b"),
        *ended(REQUEST, events_pb2.FINISH_REASON_LENGTH),
    )
    sent = parse_events(b"".join(stream.encode(event) for event in events).decode())
    *chunks, done = sent
    assert done == "[DONE]"
    assert chunks[:3] == [
        {**HEAD, "choices": [choice("a")]},
        {**HEAD, "choices": [choice("b")]},
        {**HEAD, "choices": [choice("", "length")]},
    ]
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert chunks[3:] == ([{**HEAD, "choices": [], "usage": usage}] if includes_usage else [])


def test_a_failure_is_an_error_object() -> None:
    """OpenAI's clients raise an event with `error`; no `[DONE]` follows."""
    stream = CompletionStream(CompletionHead("r1", 7), includes_usage=True)
    sent = stream.encode_failure(failure_of(EdgeError("DRAINING", "the server is draining")))
    assert parse_events(sent.decode()) == [
        {
            "error": {
                "message": "Service unavailable: the server is draining",
                "type": "service_unavailable",
                "code": "SERVICE_UNAVAILABLE",
            }
        }
    ]
