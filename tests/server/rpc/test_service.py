"""The gRPC service over a real socket, with an engine that a test steps by hand."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2
from tokenwire.generated.tokenwire.v1 import events_pb2
from tokenwire.server.request.log.log_reader import LogReader
from tokenwire.server.rpc.sender import Sender

from ..fronts import (
    CHAT,
    GENERATE,
    check,
    collect,
    connect,
    failure_of,
    start_front,
)
from ..scripted_engine import ScriptedEngine, ScriptedLauncher

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_stream_has_the_documented_order() -> None:
    """A stream is Started, deltas, the choice's end and Finished, with rising positions."""
    engine = ScriptedEngine()
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("one two three")
        request.sampling.max_tokens = 4
        answer = await collect(client.inference.Chat(request))
    assert answer.events[0] == "started"
    assert answer.events[-1] == "finished"
    assert answer.events.count("started") == answer.events.count("finished") == 1
    assert answer.text == "0 1 2 3 "
    assert answer.positions == sorted(answer.positions)
    assert answer.started.num_prompt_tokens == 3
    assert answer.started.max_tokens == 4
    assert answer.started.model_revision == "revision-1"
    assert answer.finished.usage.num_completion_tokens == 4
    assert answer.finished.timings.HasField("time_to_first_token")
    assert answer.choice_finished.finish_reason == events_pb2.FINISH_REASON_LENGTH


@pytest.mark.parametrize("method", [CHAT, GENERATE])
async def test_final_is_one_message_to_a_unary_stub(method: str) -> None:
    """With delivery FINAL a plain unary stub gets the whole answer in one message."""
    engine = ScriptedEngine()
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        make = client.chat if method == CHAT else client.prompt
        request = make("one two", delivery=events_pb2.DELIVERY_FINAL)
        request.sampling.max_tokens = 3
        response = await client.unary(method)(request)
    assert response.WhichOneof("event") == "finished"
    assert response.finished.choices[0].text == "0 1 2 "
    assert response.finished.started.num_prompt_tokens == 2
    assert response.finished.usage.num_completion_tokens == 3


async def test_cancel_aborts_and_frees_the_slot() -> None:
    """A client that leaves aborts the engine's request, and the next one gets the slot."""
    engine = ScriptedEngine(max_running=1)
    engine.allow(1)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        call = client.inference.Chat(client.chat("go"))
        await call.read()
        call.cancel()
        await engine.wait_until(running=0)
        assert engine.num_aborted == 1
        engine.allow(1)
        request = client.chat("go")
        request.sampling.max_tokens = 1
        assert (await collect(client.inference.Chat(request))).text == "0 "


async def test_deadline_aborts() -> None:
    """A deadline that passes ends the call with DEADLINE_EXCEEDED and aborts the engine.

    Takes its two seconds, in which the engine has begun also on a busy machine.
    """
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        failure = await failure_of(client.inference.Chat(client.chat("go"), timeout=2))
        await engine.wait_until(running=0)
    assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert engine.num_aborted == 1


async def test_lost_connection_aborts() -> None:
    """A connection that goes away aborts every call on it."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        async with connect(client.app) as other:
            calls = [other.inference.Chat(other.chat("go")) for _ in range(2)]
            await engine.wait_until(running=2)
        await engine.wait_until(running=0)
        del calls
    assert engine.num_aborted == 2


async def test_drain_finishes_what_runs_and_refuses_the_rest() -> None:
    """Draining: health first, watches end, running calls finish, new ones hear DRAINING."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        watch = client.health.Watch(health_pb2.HealthCheckRequest(service=""))
        await watch.read()
        request = client.chat("go")
        request.sampling.max_tokens = 2
        call = client.inference.Chat(request)
        await engine.wait_until(running=1)
        drain = asyncio.create_task(client.app.drain())
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        assert await check(client, "liveness") == SERVING
        failure = await failure_of(client.inference.Chat(client.chat("go")))
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert failure.reason == "DRAINING"
        assert not drain.done()
        engine.allow(2)
        assert (await collect(call)).text == "0 1 "
        await drain


async def test_drain_waits_for_a_slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who has not got the end yet is waited for, as an answer that still runs is."""
    may_send = asyncio.Event()
    send_deltas = Sender.send_deltas

    async def send_late(sender: Sender, reader: LogReader) -> None:
        await may_send.wait()  # stands for a connection that takes nothing
        await send_deltas(sender, reader)

    monkeypatch.setattr(Sender, "send_deltas", send_late)
    engine = ScriptedEngine()
    engine.allow(3)
    async with start_front(ScriptedLauncher(engine).prepare, LLM_DEFAULT_MAX_TOKENS="3") as client:
        call = client.inference.Chat(client.chat("go"))
        await engine.wait_until_rendering(1)
        await engine.wait_until(running=0)
        drain = asyncio.create_task(client.app.drain())
        for _ in range(10):  # each of them more turns of the loop than a drain of nothing takes
            await check(client, "liveness")
        assert not drain.done()
        may_send.set()
        assert (await collect(call)).text == "0 1 2 "
        await drain


async def test_drain_ends_what_outlasts_it() -> None:
    """A call that outlasts the drain timeout ends with UNAVAILABLE and DRAINING."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare, LLM_DRAIN_TIMEOUT_S="0.05") as client:
        call = client.inference.Chat(client.chat("go"))
        await engine.wait_until(running=1)
        await client.app.drain()
        failure = await failure_of(call)
        await engine.wait_until(running=0)
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert failure.reason == "DRAINING"
