"""What happens around every call, over a real socket."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from tokenwire.generated.tokenwire.v1 import events_pb2, inference_pb2, inference_pb2_grpc
from tokenwire.server.access.access import Access
from tokenwire.server.request.calls import CallContext
from tokenwire.server.rpc.interceptors import CallInterceptor
from tokenwire.server.rpc.known_context import KnownContext
from tokenwire.server.telemetry.metrics.grpc_metrics import GrpcMetrics
from tokenwire.tracing.trace_context import NO_TRACE

from ..fronts import (
    CHAT,
    collect,
    failure_of,
    start_front,
)
from ..scripted_engine import ScriptedEngine, ScriptedLauncher

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_request_id_is_echoed_or_made() -> None:
    """The caller's x-request-id comes back in metadata and events; an unfit one is replaced."""
    engine = ScriptedEngine()
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("go")
        request.sampling.max_tokens = 1
        call = client.inference.Chat(request, metadata=(("x-request-id", "abc-1"),))
        answer = await collect(call)
        assert dict(await call.initial_metadata())["x-request-id"] == "abc-1"
        assert answer.started.request_id == "abc-1"
        answer = await collect(
            client.inference.Chat(request, metadata=(("x-request-id", "x" * 129),))
        )
        assert len(answer.started.request_id) == 32
        request.model = "nope"
        failure = await failure_of(
            client.inference.Chat(request, metadata=(("x-request-id", "abc-2"),))
        )
        assert failure.request_id == failure.trailers["x-request-id"] == "abc-2"


async def test_unforeseen_failure_tells_nothing_but_the_id() -> None:
    """What nobody foresaw is INTERNAL in general words: no class, no text of the exception."""
    engine = ScriptedEngine()
    engine.failure = ValueError("canary-text")
    engine.allow(1)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        failure = await failure_of(client.inference.Chat(client.chat("go")))
    assert failure.code is grpc.StatusCode.INTERNAL
    assert failure.reason == "INTERNAL"
    assert "canary" not in repr(failure)
    assert "ValueError" not in repr(failure)
    assert failure.request_id


async def test_undecodable_bytes_are_an_invalid_request() -> None:
    """Bytes that are no message are INVALID_ARGUMENT, and name no Python class."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        stub = client.unary(CHAT, serializer=lambda _: b"\xff\xff\xff")
        failure = await failure_of(stub(client.chat("go")))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "DecodeError" not in failure.message


@dataclass
class Handled:
    """What the handler of the last call knew."""

    call: CallContext
    peer: str
    variables: set[str]
    time_s: float


class Handlers(inference_pb2_grpc.InferenceServiceServicer):
    """Handlers that keep what they know of their calls."""

    def __init__(self) -> None:
        self.handled: Handled | None = None

    async def Chat(self, _: Any, context: KnownContext) -> None:  # type: ignore[override]
        self._keep(context)
        await context.write(inference_pb2.ChatResponse())

    async def Generate(self, _: Any, context: KnownContext) -> None:  # type: ignore[override]
        event = events_pb2.Deltas(deltas=[{"text": {"text": "x" * 1_000_000}}])
        while True:
            await context.write(inference_pb2.GenerateResponse(deltas=event))

    async def ListModels(self, _: Any, context: KnownContext) -> Any:  # type: ignore[override]
        self._keep(context)
        return inference_pb2.ListModelsResponse()

    def _keep(self, context: KnownContext) -> None:
        variables = {variable.name for variable in contextvars.copy_context()}
        self.handled = Handled(context.call, context.peer(), variables, time.monotonic())


class KeptMetrics(GrpcMetrics):
    """Keeps the code of the first call that ends."""

    def __init__(self) -> None:
        super().__init__(CollectorRegistry(), [])
        self.code = asyncio.get_running_loop().create_future()

    def handled(self, labels: Any, code: grpc.StatusCode, *rest: Any) -> None:
        super().handled(labels, code, *rest)
        self.code.set_result(code)


@asynccontextmanager
async def intercepted(metrics: GrpcMetrics | None = None) -> AsyncGenerator[tuple[Handlers, Any]]:
    """Handlers behind the interceptor, and a stub for them."""
    handlers = Handlers()
    interceptor = CallInterceptor(metrics or GrpcMetrics(CollectorRegistry(), []), Access())
    server = grpc.aio.server(interceptors=[interceptor])
    inference_pb2_grpc.add_InferenceServiceServicer_to_server(handlers, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield handlers, inference_pb2_grpc.InferenceServiceStub(channel)
    finally:
        await server.stop(None)


async def chat(handlers: Handlers, stub: Any, **options: Any) -> Handled:
    """Makes a call of Chat, and tells what its handler knew."""
    await stub.Chat(inference_pb2.ChatRequest(), **options).read()
    assert handlers.handled is not None
    return handlers.handled


async def test_caller_who_leaves_an_unread_stream_is_counted_as_one_who_left() -> None:
    """A caller who reads too little leaves the handler within its write: that is no OK."""
    metrics = KeptMetrics()
    async with asyncio.timeout(60), intercepted(metrics) as (_, stub):
        call = stub.Generate(inference_pb2.GenerateRequest())
        await call.read()
        call.cancel()
        assert await metrics.code is grpc.StatusCode.CANCELLED


async def test_write_that_fails_is_a_caller_who_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a write fails before the news of its caller's leave, that is no fault of ours."""

    async def fail(*_: Any) -> None:
        raise grpc.aio.InternalError('Failed "execute_batch"')

    monkeypatch.setattr(Handlers, "Chat", fail)
    metrics = KeptMetrics()
    async with asyncio.timeout(60), intercepted(metrics) as (_, stub):
        call = stub.Chat(inference_pb2.ChatRequest())
        assert await metrics.code is grpc.StatusCode.CANCELLED
        call.cancel()  # it would wait for ever: nothing is sent to who has left


async def test_handler_is_told_what_came_around_its_call() -> None:
    """Request id, caller and trace are those of the call, deadline on the monotonic clock."""
    metadata = (("x-request-id", "call-1"), ("traceparent", TRACE))
    async with intercepted() as (handlers, stub):
        before_s = time.monotonic()
        known = await chat(handlers, stub, metadata=metadata, timeout=30)
    assert (known.call.request_id, known.call.trace.traceparent) == ("call-1", TRACE)
    assert known.call.caller.startswith("ipv4:127.0.0.1:")
    assert known.call.caller == known.peer
    assert known.call.deadline_s is not None
    # Rounded up by a hundredth at most on its way.
    assert before_s + 29.9 < known.call.deadline_s < known.time_s + 30.3


async def test_call_of_another_is_another() -> None:
    """A unary handler is told the same; what a call does not bring is not taken from another."""
    async with intercepted() as (handlers, stub):
        metadata = (("x-request-id", "call-1"), ("traceparent", TRACE))
        first = await chat(handlers, stub, metadata=metadata, timeout=30)
        await stub.ListModels(inference_pb2.ListModelsRequest())
    assert handlers.handled is not None
    second = handlers.handled.call
    assert len(second.request_id) == 32
    assert (second.deadline_s, second.trace) == (None, NO_TRACE)
    assert second.caller == first.call.caller


async def test_request_id_at_its_limit_and_above() -> None:
    """An id of 128 characters is kept, a longer one is not."""
    async with intercepted() as (handlers, stub):
        for number, is_kept in ((128, True), (129, False)):
            own = "x" * number
            known = await chat(handlers, stub, metadata=(("x-request-id", own),))
            assert (known.call.request_id == own) is is_kept


@pytest.mark.parametrize("unfit", ["", "x" * 129])
async def test_unfit_request_id_is_replaced(unfit: str) -> None:
    """An id that is empty or too long is replaced by one of the server's."""
    async with intercepted() as (handlers, stub):
        known = await chat(handlers, stub, metadata=(("x-request-id", unfit),))
    assert len(known.call.request_id) == 32
    assert known.call.request_id.isalnum()


async def test_facts_travel_in_no_context_variable() -> None:
    """What a handler knows of its call is passed to it; log lines alone find their id around."""
    outside = {variable.name for variable in contextvars.copy_context()}
    async with intercepted() as (handlers, stub):
        known = await chat(handlers, stub)
    assert known.variables - outside == {"structlog_request_id"}
