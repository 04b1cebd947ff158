"""Clients over SSE that note what they see of their streams, in three dialects."""

from __future__ import annotations

import asyncio
import json
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import aiohttp

from .callers import AGAIN_AFTER_S, Stream, is_refused, mark_told, position_of
from .history import Call, End, History, Message
from .lines import Line

_KEPT_S = 60
# What `/api` says, and a reason of which that is told.
_REST_REASONS = {
    "SERVICE_UNAVAILABLE": "AT_CAPACITY",
    "MODEL_LOAD_ERROR": "MODEL_LOADING",
    "GENERATION_ERROR": "GENERATION_FAILED",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client has got to, as a position and as the id of an event."""

    position: int
    last_id: str


class Dialect(ABC):
    """How a stream is asked for, and what its events say."""

    can_resume = False

    @abstractmethod
    def ask(
        self, http: aiohttp.ClientSession, model: str, stream: Stream
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Asks for a stream, from its beginning."""

    @abstractmethod
    def resume(
        self, http: aiohttp.ClientSession, stream: Stream, after: Place
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Asks for what comes behind what was told."""

    @abstractmethod
    def note(self, call: Call, data: str, event_id: str) -> None:
        """Notes what one event says."""


class Native(Dialect):
    """The messages of gRPC as JSON; a stream is taken up by another message."""

    can_resume = True
    _PATH = "/tokenwire/v1/generate"

    def ask(
        self, http: aiohttp.ClientSession, model: str, stream: Stream
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Asks for a stream, which is kept where its client comes back."""
        sampling = {"maxTokens": stream.num_tokens, "temperature": 0, "ignoreEos": True}
        kept = {"detachTimeout": f"{_KEPT_S}s"} if stream.resumes else {}
        body = {"model": model, "text": stream.prompt, "sampling": sampling, **kept}
        return http.post(self._PATH, json=body, headers={"x-request-id": stream.name})

    def resume(
        self, http: aiohttp.ClientSession, stream: Stream, after: Place
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Names the stream and the position."""
        resume = {"requestId": stream.name, "afterPosition": str(after.position)}
        body = {"resume": resume, "detachTimeout": f"{_KEPT_S}s"}
        return http.post(self._PATH, json=body)

    def note(self, call: Call, data: str, event_id: str) -> None:
        """Notes a message."""
        event = json.loads(data)
        if "error" in event:
            _fail(call, reason_of(event))
            return
        kinds = ("progress", "started", "deltas", "finished")
        (kind,) = (name for name in kinds if name in event)
        deltas = event.get("deltas", {}).get("deltas", ())
        text = "".join(delta.get("text", {}).get("text", "") for delta in deltas)
        position = int(event.get("position", 0))
        assert event_id in ("", str(position), "end"), event_id
        call.messages.append(Message(kind, text, position))
        if kind == "finished":
            call.ends.append(End.FINISHED)
            call.num_tokens = event["finished"]["usage"]["numCompletionTokens"]


class Api(Dialect):
    """`/api`, whose streams a browser takes up by itself: `Last-Event-ID`."""

    can_resume = True

    def ask(
        self, http: aiohttp.ClientSession, model: str, stream: Stream
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Asks for a stream, which is kept where its client comes back."""
        kept = {"detach_timeout": _KEPT_S} if stream.resumes else {}
        body = {"model": model, "prompt": stream.prompt, "max_tokens": stream.num_tokens}
        headers = {"x-request-id": stream.name}
        body = {**body, "temperature": 0, **kept}
        return http.post("/api/completions/stream", json=body, headers=headers)

    def resume(
        self, http: aiohttp.ClientSession, stream: Stream, after: Place
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Asks as an `EventSource` does."""
        headers = {"Last-Event-ID": after.last_id} if after.last_id else {}
        return http.get(f"/api/streams/{stream.name}", headers=headers)

    def note(self, call: Call, data: str, event_id: str) -> None:
        """Notes an event; its id is the position, with the reason of the end behind it."""
        event = json.loads(data)
        if "error" in event:
            _fail(call, reason_of(event))
        elif "done" in event:
            assert event_id in ("", "end"), event_id
            call.messages.append(Message("finished"))
            call.ends.append(End.FINISHED)
            call.num_tokens = event["tokens_generated"]
        else:
            position = int(event_id.partition("-")[0]) if event_id else None
            call.messages.append(Message("deltas", event["text"], position))


class OpenAi(Dialect):
    """`/v1`, whose streams end with their connections."""

    def ask(
        self, http: aiohttp.ClientSession, model: str, stream: Stream
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Asks for a stream."""
        body = {
            "model": model,
            "prompt": stream.prompt,
            "max_tokens": stream.num_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return http.post("/v1/completions", json=body, headers={"x-request-id": stream.name})

    def resume(
        self, http: aiohttp.ClientSession, stream: Stream, after: Place
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Cannot."""
        raise AssertionError((http, stream, after))

    def note(self, call: Call, data: str, event_id: str) -> None:
        """Notes a chunk."""
        assert not event_id
        if data == "[DONE]":
            call.messages.append(Message("finished"))
            call.ends.append(End.FINISHED)
            return
        chunk = json.loads(data)
        if "error" in chunk:
            _fail(call, reason_of(chunk))
            return
        for choice in chunk["choices"]:
            call.messages.append(Message("deltas", choice["text"]))
        if chunk.get("usage"):
            call.num_tokens = chunk["usage"]["completion_tokens"]


DIALECTS: tuple[Dialect, ...] = (Native(), Api(), OpenAi())


class SseCaller:
    """Calls an edge along a line, in one dialect."""

    def __init__(
        self, line: Line, model: str, num_kills: Callable[[], int], dialect: Dialect
    ) -> None:
        self._line = line
        self._model = model
        self._num_kills = num_kills
        self._dialect = dialect
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self.session = aiohttp.ClientSession(
            f"http://127.0.0.1:{line.port}",
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=300),
        )

    @property
    def _num_faults(self) -> int:
        return self._line.num_cuts + self._num_kills()

    async def run(self, stream: Stream) -> History:
        """Reads a stream to its end; one that was not accepted is asked for again.

        One that can be taken up again is, as often as it must be.
        """
        history = History(stream.name, stream.whole, stream.num_tokens)
        rng = random.Random(stream.seed)
        resumes = stream.resumes and self._dialect.can_resume
        may_be_there = False
        while True:
            call = Call(after=position_of(history))
            history.calls.append(call)
            num_faults = self._num_faults
            # A client that takes its stream up again leaves it once or twice, too.
            may_leave = stream.leaves and len(history.calls) <= (2 if resumes else 1)
            leaves_after = rng.randrange(1, stream.num_tokens) if may_leave else None
            try:
                await self._call(stream, history, leaves_after, is_again=may_be_there)
            except aiohttp.ClientError as error:
                call.ends.append(End.CUT)
                call.reason = type(error).__name__
                call.was_cut = self._num_faults > num_faults
            # What listens may also be between two lives: then nothing was accepted, or is there.
            is_unheard = call.end is End.CUT and not call.messages
            if is_refused(call, history):
                may_be_there = False  # also what was kept may be no more than that it was refused
            elif resumes and call.end in (End.CUT, End.LEFT):
                may_be_there = True
                if not is_unheard:
                    continue
            elif not is_unheard:
                return history
            history.calls.remove(call)
            await asyncio.sleep(AGAIN_AFTER_S)

    async def _call(
        self, stream: Stream, history: History, leaves_after: int | None, *, is_again: bool
    ) -> None:
        call = history.calls[-1]
        if is_again:
            last_ids = [each.last_id for each in history.calls if each.last_id]
            after = Place(call.after, last_ids[-1] if last_ids else "")
            asking = self._dialect.resume(self.session, stream, after)
        else:
            asking = self._dialect.ask(self.session, self._model, stream)
        async with asking as response:
            if response.status != 200:
                _fail(call, reason_of(await response.json()))
                return
            async for event_id, data in _events_of(response):
                self._dialect.note(call, data, event_id)
                call.last_id = event_id or call.last_id
                mark_told(stream, call)
                if leaves_after is not None and len(call.messages) > leaves_after:
                    call.ends = [End.LEFT]
                    return
            if not call.ends:
                call.ends.append(End.SILENT)


async def _events_of(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str]]:
    """Yields the id and the data of each event that came whole."""
    event_id = data = ""
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
        elif line.startswith("id: "):
            event_id = line.removeprefix("id: ")
        elif not line and data:
            yield event_id, data
            event_id = data = ""


def _fail(call: Call, reason: str) -> None:
    call.ends.append(End.FAILED)
    call.reason = reason


def reason_of(body: dict[str, Any]) -> str:
    """The reason that an answer or an event gives for a failure."""
    if isinstance(body.get("error"), str):
        return _REST_REASONS.get(body["code"], body["code"])
    error = body.get("error", body)  # an answer that is no stream is the Status itself
    for detail in error.get("details", ()):
        if "reason" in detail:
            return str(detail["reason"])
    return str(error.get("code", error)).upper()  # OpenAI's dialect has our reasons in lower case
