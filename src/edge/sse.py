"""Server-sent events: one gRPC stream as one HTTP response."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from aiohttp import web

from ..generated.tokenwire.v1 import events_pb2, inference_pb2
from ..lifecycle import running_beside
from .context import FAILURE
from .errors import Failure, failure_of

Event = inference_pb2.GenerateResponse | inference_pb2.ChatResponse

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
COMMENT = b": ping\n"
"""A heartbeat that is no event. With an empty line behind it, it would be one to many clients:

openai-python and openai-go parse its missing data as JSON, and fail.
"""
# Python's str.splitlines takes these for the ends of lines, and so do clients built on it. They are
# the only ones that JSON leaves as they are.
_ESCAPES = (
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
    (b"\xc2\x85", b"\\u0085"),
)


@dataclass(frozen=True, slots=True)
class StreamPace:
    """What is sent on a stream while the engine says nothing; 0 seconds: it is waited for.

    `headers_after_s` counts from the request, `heartbeat_s` from what was sent last. `is_comment`
    says whether a heartbeat is a comment, or an event that says nothing in its dialect.
    """

    headers_after_s: float
    heartbeat_s: float
    is_comment: bool


PACE = web.AppKey("pace", StreamPace)


class EventEncoder(Protocol):
    """Writes the events of one stream in one dialect."""

    def encode(self, event: Event) -> bytes:
        """Returns the bytes to send for an event, none where it has no counterpart."""
        ...

    def encode_failure(self, failure: Failure) -> bytes:
        """Returns the bytes that end a stream whose headers are already sent."""
        ...

    def heartbeat(self) -> bytes:
        """Returns an event that says nothing, for clients that take no comments.

        It may be asked for before the first event was encoded.
        """
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

    def heartbeat(self) -> bytes:
        """Returns an object without a field."""
        return data_event({})

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
    """Returns one event with a JSON object as its data, which is one line to every client."""
    data = orjson.dumps(value)
    for raw, escaped in _ESCAPES:
        data = data.replace(raw, escaped)
    return b"data: " + data + b"\n\n"


async def send_stream(
    request: web.Request,
    events: AsyncGenerator[Event],
    encoder: EventEncoder,
    *,
    is_early: bool = False,
) -> web.StreamResponse:
    """Sends the headers once the engine accepted the request, then every event; closes `events`.

    With `is_early` the headers go out with the first event of any kind, `Progress` too; and in any
    case after the time that `PACE` of the application says, because proxies give up on an answer
    that does not begin. A failure before the headers is raised as it came; one after them becomes
    the stream's last event.
    """
    pace = request.app[PACE]
    sending = _Sending(request)
    heartbeat = _comment if pace.is_comment else encoder.heartbeat
    async with aclosing(events):
        async with running_beside(sending.keep_alive(pace, heartbeat), "keep-alive"):
            try:
                end = await _relay(events, encoder, sending, is_early=is_early)
            except ConnectionError:
                raise  # the client left
            except Exception as error:
                if not sending.has_begun:
                    raise
                request[FAILURE] = failure = failure_of(error)
                end = encoder.encode_failure(failure)
        # Behind the end of the call, and with nothing to wait for: many clients hang up as soon as
        # they have read it, and would be taken for some that left before.
        await sending.send(end)
        await sending.response.write_eof()
        return sending.response


async def _relay(
    events: AsyncGenerator[Event], encoder: EventEncoder, sending: _Sending, *, is_early: bool
) -> bytes:
    """Sends all but the end of a stream, which it returns."""
    event = await _first_event(events, is_early=is_early)
    await sending.begin()
    await sending.send(encoder.encode(event))
    end: bytes | None = None
    async for event in events:
        if event.WhichOneof("event") == "finished":
            end = encoder.encode(event)
        else:
            await sending.send(encoder.encode(event))
    if end is None:
        raise RuntimeError("the stream ended without its last event")
    return end


async def _first_event(events: AsyncGenerator[Event], *, is_early: bool) -> Event:
    async for event in events:
        if is_early or event.WhichOneof("event") != "progress":
            return event
    raise RuntimeError("the stream ended before it started")


class _Sending:
    """One response as it is sent."""

    def __init__(self, request: web.Request) -> None:
        self.response = web.StreamResponse(headers=HEADERS)
        self._request = request
        self._begun = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._sent_s = 0.0

    @property
    def has_begun(self) -> bool:
        """Whether the headers are sent."""
        return self._begun.is_set()

    async def begin(self) -> None:
        """Sends the headers, where they are not sent yet."""
        if not self.has_begun:
            self._begun.set()
            self._sent_s = self._clock()
            await self.response.prepare(self._request)

    async def send(self, data: bytes) -> None:
        """Sends what there is to send. How long a client may take is its connection's business."""
        if data:
            self._sent_s = self._clock()
            await self.response.write(data)

    async def keep_alive(self, pace: StreamPace, heartbeat: Callable[[], bytes]) -> None:
        """Sends headers and heartbeats when they are due, until it is cancelled."""
        with suppress(ConnectionError):  # the client left, which cancels the request itself
            with suppress(TimeoutError):
                async with asyncio.timeout(pace.headers_after_s or None):
                    await self._begun.wait()
            await self.begin()
            while pace.heartbeat_s:
                wait_s = self._sent_s + pace.heartbeat_s - self._clock()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                elif self._is_read():
                    await self.send(heartbeat())
                else:
                    self._sent_s = self._clock()  # what waits to be read keeps nothing alive

    def _is_read(self) -> bool:
        transport = self._request.transport
        return transport is None or not transport.get_write_buffer_size()


def _comment() -> bytes:
    return COMMENT
