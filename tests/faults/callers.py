"""Clients that note what they see of their streams: over gRPC, and over SSE in two dialects."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
from google.protobuf.duration_pb2 import Duration
from tokenwire.generated.tokenwire.v1 import inference_pb2, inference_pb2_grpc

from ..server.fronts import unpack
from .history import Call, End, History, Message
from .lines import Line

# Refused before anything was said: nothing of a stream is lost, and its caller asks again.
AGAIN = {"MODEL_LOADING", "AT_CAPACITY", "QUEUE_TIMEOUT", "ENGINE_LOST"}
_AGAIN_AFTER_S = 0.1
_KEPT = Duration(seconds=60)


@dataclass(frozen=True, slots=True)
class Stream:
    """What one client does: it may leave behind some messages, and takes its stream up again."""

    name: str
    prompt: str
    whole: str
    num_tokens: int
    seed: int
    told: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with the first text."""
    leaves: bool = False
    resumes: bool = False


class GrpcCaller:
    """Calls over one channel, whose connection goes along a line."""

    def __init__(self, line: Line, model: str) -> None:
        self._line = line
        self._model = model
        # Comes back at once: the test itself cuts the connection.
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.min_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 200),
            ("grpc.enable_retries", 0),
        ]
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{line.port}", options=options)
        self._stub: Any = inference_pb2_grpc.InferenceServiceStub(self.channel)

    async def run(self, stream: Stream) -> History:
        """Reads a stream to its end, as often as it must be taken up again."""
        history = History(stream.name, stream.whole, stream.num_tokens)
        rng = random.Random(stream.seed)
        while True:
            position = _position(history)
            call = await self._call(stream, history, position, rng)
            if _is_refused(call, history):
                history.calls.pop()
                await asyncio.sleep(_AGAIN_AFTER_S)
                continue
            is_over = call.end in (End.FINISHED, End.FAILED, End.SILENT) or not stream.resumes
            if is_over:
                return history

    async def _call(
        self, stream: Stream, history: History, position: int, rng: random.Random
    ) -> Call:
        call = Call(after=position)
        request = inference_pb2.GenerateRequest()
        if history.calls:
            request.resume.request_id = stream.name
            request.resume.after_position = position
        else:
            request.model, request.text = self._model, stream.prompt
            request.sampling.max_tokens = stream.num_tokens
            request.sampling.temperature = 0
            request.sampling.ignore_eos = True
        if stream.resumes:
            request.detach_timeout.CopyFrom(_KEPT)
        history.calls.append(call)
        # A client that takes its stream up again leaves it once or twice, too.
        may_leave = stream.leaves and len(history.calls) <= (2 if stream.resumes else 1)
        leaves_after = rng.randrange(1, stream.num_tokens) if may_leave else None
        num_cuts = self._line.num_cuts
        reading = self._stub.Generate(
            request, metadata=(("x-request-id", stream.name),), wait_for_ready=True, timeout=300
        )
        try:
            while (response := await reading.read()) is not grpc.aio.EOF:
                _note_response(call, response)
                _mark_told(stream, call)
                if leaves_after is not None and len(call.messages) > leaves_after:
                    call.ends = [End.LEFT]
                    reading.cancel()
                    return call
            if not call.ends:
                call.ends.append(End.SILENT)
        except grpc.aio.AioRpcError as error:
            reason = unpack(error).reason
            call.ends.append(End.FAILED if reason else End.CUT)
            call.reason = reason or f"{error.code().name}: {error.details()}"
            call.was_cut = self._line.num_cuts > num_cuts
        return call


class SseCaller:
    """Calls an edge along a line, in the dialect of the proto or of OpenAI."""

    def __init__(
        self, line: Line, model: str, num_kills: Callable[[], int], *, is_openai: bool
    ) -> None:
        self._line = line
        self._model = model
        self._num_kills = num_kills
        self._is_openai = is_openai
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
        """Reads a stream to its end; one that was not accepted is asked for again."""
        history = History(stream.name, stream.whole, stream.num_tokens)
        rng = random.Random(stream.seed)
        while True:
            call = Call()
            history.calls = [call]
            num_faults = self._num_faults
            leaves_after = rng.randrange(1, stream.num_tokens) if stream.leaves else None
            try:
                await self._call(stream, call, leaves_after)
            except aiohttp.ClientError as error:
                call.ends.append(End.CUT)
                call.reason = type(error).__name__
                call.was_cut = self._num_faults > num_faults
                # What listens may also be between two lives: nothing was accepted.
                if not call.messages:
                    await asyncio.sleep(_AGAIN_AFTER_S)
                    continue
            if not _is_refused(call, history):
                return history
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def _call(self, stream: Stream, call: Call, leaves_after: int | None) -> None:
        if self._is_openai:
            path, body = "/v1/completions", self._openai_body(stream)
        else:
            path, body = "/tokenwire/v1/generate", self._body(stream)
        headers = {"x-request-id": stream.name}
        async with self.session.post(path, json=body, headers=headers) as response:
            if response.status != 200:
                call.ends.append(End.FAILED)
                call.reason = _reason(await response.json())
                return
            async for data in _data_of(response):
                if self._is_openai:
                    _note_chunk(call, data)
                else:
                    _note_json(call, data)
                _mark_told(stream, call)
                if leaves_after is not None and len(call.messages) > leaves_after:
                    call.ends = [End.LEFT]
                    return
            if not call.ends:
                call.ends.append(End.SILENT)

    def _body(self, stream: Stream) -> dict[str, Any]:
        sampling = {"maxTokens": stream.num_tokens, "temperature": 0, "ignoreEos": True}
        return {"model": self._model, "text": stream.prompt, "sampling": sampling}

    def _openai_body(self, stream: Stream) -> dict[str, Any]:
        return {
            "model": self._model,
            "prompt": stream.prompt,
            "max_tokens": stream.num_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }


def _mark_told(stream: Stream, call: Call) -> None:
    if call.messages and call.messages[-1].text:
        stream.told.set()


def _position(history: History) -> int:
    positions = [
        message.position or 0
        for call in history.calls
        for message in call.messages
        if message.kind == "deltas"
    ]
    return max(positions, default=0)


def _is_refused(call: Call, history: History) -> bool:
    """Whether nothing was accepted yet, and the same may be asked again."""
    if history.text or any(each.messages for each in history.calls):
        return False
    # A request whose connection broke before it arrived is not there to be taken up.
    never_came = call.reason == "RESUME_EXPIRED"
    if never_came:
        history.calls = [call]
    return call.end is End.FAILED and (call.reason in AGAIN or never_came)


def _note_response(call: Call, response: Any) -> None:
    kind = response.WhichOneof("event")
    text = "".join(delta.text.text for delta in response.deltas.deltas)
    call.messages.append(Message(kind, text, response.position))
    if kind == "finished":
        call.ends.append(End.FINISHED)
        call.num_tokens = response.finished.usage.num_completion_tokens


async def _data_of(response: aiohttp.ClientResponse) -> AsyncIterator[str]:
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line.startswith("data: "):
            yield line.removeprefix("data: ")


def _note_json(call: Call, data: str) -> None:
    event = json.loads(data)
    if "error" in event:
        call.ends.append(End.FAILED)
        call.reason = _reason(event)
        return
    (kind,) = (name for name in ("progress", "started", "deltas", "finished") if name in event)
    deltas = event.get("deltas", {}).get("deltas", ())
    text = "".join(delta.get("text", {}).get("text", "") for delta in deltas)
    call.messages.append(Message(kind, text, int(event.get("position", 0))))
    if kind == "finished":
        call.ends.append(End.FINISHED)
        call.num_tokens = event["finished"]["usage"]["numCompletionTokens"]


def _note_chunk(call: Call, data: str) -> None:
    if data == "[DONE]":
        call.messages.append(Message("finished"))
        call.ends.append(End.FINISHED)
        return
    chunk = json.loads(data)
    if "error" in chunk:
        call.ends.append(End.FAILED)
        call.reason = _reason(chunk)
        return
    for choice in chunk["choices"]:
        call.messages.append(Message("deltas", choice["text"]))
    if chunk.get("usage"):
        call.num_tokens = chunk["usage"]["completion_tokens"]


def _reason(body: dict[str, Any]) -> str:
    error = body.get("error", body)  # an answer that is no stream is the Status itself
    for detail in error.get("details", ()):
        if "reason" in detail:
            return str(detail["reason"])
    return str(error.get("code", error)).upper()  # OpenAI's dialect has our reasons in lower case
