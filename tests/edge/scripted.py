"""A front that does what a test tells it to, on a real gRPC server: for faults and timing only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tokenwire.generated.tokenwire.v1 import (
    events_pb2,
    inference_pb2,
    inference_pb2_grpc,
    models_pb2,
    tokenizer_pb2,
    tokenizer_pb2_grpc,
)
from tokenwire.server.contract.errors import InferenceError
from tokenwire.server.rpc.statuses import status_of

MODEL = "owner/model"
Script = Callable[[Any, grpc.aio.ServicerContext], AsyncIterator[Any]]


def started(request: Any) -> Any:
    """Returns the event that the engine accepted the request."""
    return _response(request)(started=events_pb2.Started(model=MODEL, num_prompt_tokens=3))


def text(request: Any, *texts: str) -> Any:
    """Returns one message with a delta for every text."""
    deltas = [events_pb2.Delta(text=events_pb2.TextDelta(text=part)) for part in texts]
    return _response(request)(deltas=events_pb2.Deltas(deltas=deltas))


def ended(request: Any, reason: int = events_pb2.FINISH_REASON_EOS) -> list[Any]:
    """Returns the last messages of a stream."""
    end = events_pb2.Delta(finished=events_pb2.ChoiceFinished(finish_reason=reason))
    usage = events_pb2.Usage(num_prompt_tokens=3, num_completion_tokens=2)
    return [
        _response(request)(deltas=events_pb2.Deltas(deltas=[end])),
        _response(request)(finished=events_pb2.Finished(usage=usage)),
    ]


def progress(request: Any) -> Any:
    """Returns a report on the queue."""
    queued = events_pb2.Progress.Queued(place=1)
    return _response(request)(progress=events_pb2.Progress(queued=queued))


def final(request: Any, answer: str, reason: int = events_pb2.FINISH_REASON_EOS) -> Any:
    """Returns the one message of delivery FINAL."""
    choice = events_pb2.Choice(
        text=answer, finished=events_pb2.ChoiceFinished(finish_reason=reason)
    )
    finished = events_pb2.Finished(
        usage=events_pb2.Usage(
            num_prompt_tokens=3, num_completion_tokens=2, num_cached_prompt_tokens=1
        ),
        started=events_pb2.Started(model=MODEL),
        choices=[choice],
    )
    return _response(request)(finished=finished)


async def fail(context: grpc.aio.ServicerContext, error: InferenceError) -> NoReturn:
    """Ends the call as the real front does."""
    await context.abort_with_status(status_of(error, "r1"))
    raise AssertionError("unreachable")


def _response(request: Any) -> Any:
    is_chat = isinstance(request, inference_pb2.ChatRequest)
    return inference_pb2.ChatResponse if is_chat else inference_pb2.GenerateResponse


async def answer_briefly(request: Any, _context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
    """Answers `ab` in the delivery that is asked for."""
    if request.delivery == events_pb2.DELIVERY_FINAL:
        yield final(request, "ab")
        return
    yield started(request)
    yield text(request, "a", "b")
    for event in ended(request):
        yield event


class ScriptedFront(
    inference_pb2_grpc.InferenceServiceServicer,
    tokenizer_pb2_grpc.TokenizerServiceServicer,
    health_pb2_grpc.HealthServicer,
):
    """Serves on a free port and remembers what it was asked."""

    def __init__(self) -> None:
        self.script: Script = answer_briefly
        self.models: list[models_pb2.Model] = []
        self.is_ready = True
        self.counts = asyncio.Event()  # whether CountTokens answers, or waits
        self.counts.set()
        self.requests: list[Any] = []
        self.metadata: dict[str, str] = {}
        self.remaining_s: float | None = None
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.target = ""

    async def __aenter__(self) -> Self:
        # Takes the pings of a quiet channel, as the real front does.
        self._server = grpc.aio.server(options=[("grpc.http2.max_ping_strikes", 0)])
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(self, self._server)
        tokenizer_pb2_grpc.add_TokenizerServiceServicer_to_server(self, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self, self._server)
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    async def Generate(self, request: Any, context: Any) -> AsyncIterator[Any]:
        async for event in self._serve(request, context):
            yield event

    async def Chat(self, request: Any, context: Any) -> AsyncIterator[Any]:
        async for event in self._serve(request, context):
            yield event

    async def ListModels(self, _request: Any, context: Any) -> Any:
        self._record(context)
        return inference_pb2.ListModelsResponse(models=self.models)

    async def CountTokens(self, _request: Any, context: Any) -> Any:
        self._record(context)
        self.entered.set()
        try:
            await self.counts.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return tokenizer_pb2.CountTokensResponse(num_prompt_tokens=3)

    async def Check(self, _request: Any, _context: Any) -> Any:
        states = health_pb2.HealthCheckResponse
        status = states.SERVING if self.is_ready else states.NOT_SERVING
        return health_pb2.HealthCheckResponse(status=status)

    async def _serve(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.requests.append(request)
        self._record(context)
        self.entered.set()
        try:
            async for event in self.script(request, context):
                yield event
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise

    def _record(self, context: Any) -> None:
        self.metadata = dict(context.invocation_metadata())
        self.remaining_s = context.time_remaining()
