"""Streams of `/api` that can be resumed: their ids, and `GET /api/streams/{request_id}`."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import grpc
from aiohttp import web

from ...generated.tokenwire.v1 import events_pb2, inference_pb2
from ..body import shown
from ..client import FrontClient
from ..context import CONTEXT
from ..errors import Failure, failure_of, invalid
from ..event_ids import END, WithIds
from ..sse import Event, EventEncoder
from .streams import ChatStream, CompletionsStream

LAST_ID_HEADER = "Last-Event-ID"
AFTER = "after"
_REASONS = "".join(map(str, events_pb2.FinishReason.values()))
ID = rf"([0-9]{{1,18}})(?:-([{_REASONS}]))?"
"""The ids of events but the last one, as an expression: a position, and why the text ended."""
_ID = re.compile(ID)
_WRONG_METHOD = "resume.request_id"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client has got to; `finish_reason`, where the end of the text was told with it."""

    position: int = 0
    finish_reason: events_pb2.FinishReason.ValueType = events_pb2.FINISH_REASON_UNSPECIFIED


class KeptTextStream(WithIds):
    """Writes one event with an id for each message, joining its texts."""

    def encode(self, event: Event) -> bytes:
        """Returns one event with an id, or none."""
        return super().encode(_joined(event))

    def _id_of(self, event: Event) -> str:
        # Whoever comes back behind this message is not told again why the text ended.
        reasons = [
            delta.finished.finish_reason
            for delta in event.deltas.deltas
            if delta.WhichOneof("kind") == "finished"
        ]
        return "-".join(map(str, [event.position, *reasons[:1]]))


class ResumedStream:
    """Writes what a request says in the events of the route that began it.

    Those of `/api/completions/stream` have all that those of `/api/generate/stream` have, which
    are no other call of gRPC.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._encoder: EventEncoder = KeptTextStream(ChatStream())
        self._has_begun = False

    def encode(self, event: Event) -> bytes:
        """Returns one event with an id, or none."""
        if not self._has_begun:
            self._has_begun = True
            is_chat = isinstance(event, inference_pb2.ChatResponse)
            stream = (ChatStream if is_chat else CompletionsStream)(self._place.finish_reason)
            self._encoder = KeptTextStream(stream)
        return self._encoder.encode(event)

    def encode_failure(self, failure: Failure) -> bytes:
        """Returns the one event that ends a failed stream."""
        return self._encoder.encode_failure(failure)

    def heartbeat(self) -> bytes:
        """Returns an event that says nothing."""
        return self._encoder.heartbeat()


def read_place(request: web.Request) -> Place | None:
    """Reads where a client has got to; None: all of it.

    A browser that comes back by itself asks for the address of before: its header counts.

    Raises:
        EdgeError: it is no id that an event can have had.
    """
    name, text = LAST_ID_HEADER, request.headers.get(LAST_ID_HEADER, "")
    if not text:
        name, text = AFTER, request.query.get(AFTER, "")
    if text == END:
        return None
    if not text:
        return Place()
    match = _ID.fullmatch(text)
    if match is None:
        raise invalid(name, f"must be the id of an event, got {shown(text)}")
    return Place(int(match[1]), events_pb2.FinishReason.ValueType(int(match[2] or 0)))


async def resumed_events(
    front: FrontClient, request: web.Request, place: Place
) -> AsyncGenerator[Event]:
    """Yields what comes behind a place, of Chat or else of Generate.

    Raises:
        AioRpcError: the call failed.
        EdgeError: the edge ends, or the request is not kept.
    """
    resume = inference_pb2.Resume(
        request_id=request.match_info["request_id"], after_position=place.position
    )
    context = request[CONTEXT]
    chat = inference_pb2.ChatRequest(resume=resume)
    try:
        async with aclosing(front.events(front.stub.Chat, chat, context)) as chat_events:
            async for chat_event in chat_events:
                yield chat_event
            return
    except grpc.aio.AioRpcError as error:
        if not _is_of_other_method(error):
            raise
    generate = inference_pb2.GenerateRequest(resume=resume)
    async with aclosing(front.events(front.stub.Generate, generate, context)) as events:
        async for event in events:
            yield event


def _is_of_other_method(error: grpc.aio.AioRpcError) -> bool:
    if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
        return False
    return failure_of(error).has_violation(_WRONG_METHOD)


def _joined(event: Event) -> Event:
    """Joins the texts of a message: a client that has lost half of them would get all again."""
    texts = [delta.text.text for delta in event.deltas.deltas if delta.HasField("text")]
    if len(texts) < 2:
        return event
    joined = type(event)(position=event.position)
    joined.deltas.deltas.add().text.text = "".join(texts)
    joined.deltas.deltas.extend(
        delta for delta in event.deltas.deltas if delta.HasField("finished")
    )
    return joined
