"""The events of the stream routes of `/api`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tokenwire.generated.tokenwire.v1 import events_pb2

from ..scripted import MODEL, ScriptedFront, ended, started, text
from ..sse_reading import read_events

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
COMPLETION = {"model": MODEL, "prompt": "Hi"}


async def test_stream_routes_never_queue(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """A stream route asks for a turn at once; a unary route waits as long as the server lets it."""
    for path in ("/api/chat/stream", "/api/chat"):
        async with scripted_http.post(path, json=CHAT) as response:
            assert response.status == 200
    stream, unary = scripted.requests
    assert stream.HasField("max_queue_wait")
    assert not stream.max_queue_wait.ToTimedelta()
    assert not unary.HasField("max_queue_wait")
    assert unary.delivery == events_pb2.DELIVERY_FINAL


async def test_every_delta_is_an_event(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """A message with several deltas is several events; any text survives the framing."""
    parts = ["a\n\nb", "data: x", "\u2028é😀", '"}\n']

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        yield text(request, *parts)
        for event in ended(request, events_pb2.FINISH_REASON_STOP):
            yield event

    scripted.script = script
    async with scripted_http.post("/api/chat/stream", json=CHAT) as response:
        *deltas, end = await read_events(response)
    assert [delta["content"] for delta in deltas] == parts
    assert end["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("reason", "own", "openai"),
    [
        (events_pb2.FINISH_REASON_STOP, "stop", "stop"),
        (events_pb2.FINISH_REASON_EOS, "eos", "stop"),
        (events_pb2.FINISH_REASON_LENGTH, "length", "length"),
        (events_pb2.FINISH_REASON_TIME_LIMIT, "length", "length"),
    ],
)
async def test_finish_reasons(
    scripted: ScriptedFront,
    scripted_http: aiohttp.ClientSession,
    reason: int,
    own: str,
    openai: str,
) -> None:
    """The end is told in the words of each dialect."""

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        for event in ended(request, reason):
            yield event

    scripted.script = script
    async with scripted_http.post("/api/completions/stream", json=COMPLETION) as response:
        (end,) = await read_events(response)
    assert end["finish_reason"] == own
    assert end["choices"][0]["finish_reason"] == openai
