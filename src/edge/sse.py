"""Server-sent events: one gRPC stream as one HTTP response."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol

import orjson
from aiohttp import web

from ..generated.tokenwire.v1 import events_pb2, inference_pb2
from .context import FAILURE
from .errors import Failure, failure_of

Event = inference_pb2.GenerateResponse | inference_pb2.ChatResponse

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
# A client that takes nothing for this long would hold its slot for ever.
_WRITE_TIMEOUT_S = 60.0
# A transport that asked to pause goes on when it holds this much or less: asyncio's low-water mark.
_UNPAUSED_BYTES = 16 * 1024


class EventEncoder(Protocol):
    """Writes the events of one stream in one dialect."""

    def encode(self, event: Event) -> bytes:
        """Returns the bytes to send for an event, none where it has no counterpart."""
        ...

    def encode_failure(self, failure: Failure) -> bytes:
        """Returns the bytes that end a stream whose headers are already sent."""
        ...


class TextStream(ABC):
    """Splits a stream of text alone into texts and its end; a subclass writes each of them."""

    def __init__(self) -> None:
        self._model = ""
        self._ended = events_pb2.ChoiceFinished()

    def encode(self, event: Event) -> bytes:
        """Returns one event for every text delta, and what ends the stream."""
        kind = event.WhichOneof("event")
        if kind == "deltas":
            return b"".join([self._encode_delta(delta) for delta in event.deltas.deltas])
        if kind == "started":
            self._model = event.started.model
        elif kind == "finished":
            return self._encode_end(event.finished)
        return b""

    def _encode_delta(self, delta: events_pb2.Delta) -> bytes:
        kind = delta.WhichOneof("kind")
        if kind == "text" and (text := delta.text.text):
            return self._encode_text(text)
        if kind == "finished":
            self._ended = delta.finished
        return b""

    @abstractmethod
    def _encode_text(self, text: str) -> bytes: ...

    @abstractmethod
    def _encode_end(self, finished: events_pb2.Finished) -> bytes: ...


def data_event(value: dict[str, Any]) -> bytes:
    """Returns one event with a JSON object as its data."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


async def send_stream(
    request: web.Request,
    events: AsyncGenerator[Event],
    encoder: EventEncoder,
    *,
    is_early: bool = False,
) -> web.StreamResponse:
    """Sends the headers once the engine accepted the request, then every event; closes `events`.

    A failure before the headers is raised as it came; one after them becomes the stream's last
    event. `is_early` sends them with the first event of any kind, for callers who want to see
    what they wait for.
    """
    async with aclosing(events):
        event = await _first_event(events, is_early=is_early)
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        try:
            await _write(request, response, encoder.encode(event))
            async for event in events:
                await _write(request, response, encoder.encode(event))
            if event.WhichOneof("event") != "finished":
                raise RuntimeError("the stream ended without its last event")
        except ConnectionError:
            raise  # the client left
        except Exception as error:  # noqa: BLE001 - the headers are sent: no one else can answer
            request[FAILURE] = failure = failure_of(error)
            await _write(request, response, encoder.encode_failure(failure))
        await response.write_eof()
        return response


async def _first_event(events: AsyncGenerator[Event], *, is_early: bool) -> Event:
    async for event in events:
        if is_early or event.WhichOneof("event") != "progress":
            return event
    raise RuntimeError("the stream ended before it started")


async def _write(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    if not data:
        return
    transport = request.transport
    if transport is not None and transport.get_write_buffer_size() + len(data) < _UNPAUSED_BYTES:
        # It cannot have to wait, and a timer costs as much as encoding and sending together.
        await response.write(data)
        return
    try:
        async with asyncio.timeout(_WRITE_TIMEOUT_S):
            await response.write(data)
    except TimeoutError:
        # A plain close would wait for this client to read what is already buffered.
        if transport is not None:
            transport.abort()
        raise ConnectionResetError("the client stopped reading") from None
