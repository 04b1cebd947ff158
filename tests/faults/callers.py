"""Clients that note what they see of their streams: over gRPC. `sse_caller.py`: over SSE."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from tokenwire.generated.tokenwire.v1 import inference_pb2, inference_pb2_grpc

from ..server.fronts import unpack
from .history import Call, End, History, Message
from .lines import Line

# Refused before anything was said: nothing of a stream is lost, and its caller asks again.
AGAIN = {"MODEL_LOADING", "AT_CAPACITY", "QUEUE_TIMEOUT", "ENGINE_LOST"}
AGAIN_AFTER_S = 0.1
_KEPT = Duration(seconds=60)
_NEWS_S = 5.0


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
        # Comes back at once: the test itself cuts the connection. To connect may take its time all
        # the same: on a busy machine it would be given up over and over.
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.min_reconnect_backoff_ms", 20_000),
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
            position = position_of(history)
            call = await self._call(stream, history, position, rng)
            if is_refused(call, history):
                history.calls.pop()
                await asyncio.sleep(AGAIN_AFTER_S)
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
        start_s = time.monotonic()
        reading = self._stub.Generate(
            request, metadata=(("x-request-id", stream.name),), wait_for_ready=True, timeout=300
        )
        try:
            while (response := await reading.read()) is not grpc.aio.EOF:
                _note_response(call, response)
                mark_told(stream, call)
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
            # A call may begin on a connection that is broken, before its channel knows of it.
            call.was_cut = self._line.last_cut_s > start_s - _NEWS_S
        return call


def mark_told(stream: Stream, call: Call) -> None:
    """Tells who waits for it that a stream has said something."""
    if call.messages and call.messages[-1].text:
        stream.told.set()


def position_of(history: History) -> int:
    """The last position that text was told at."""
    positions = [
        message.position or 0
        for call in history.calls
        for message in call.messages
        if message.kind == "deltas"
    ]
    return max(positions, default=0)


def is_refused(call: Call, history: History) -> bool:
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
