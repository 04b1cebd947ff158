"""The gRPC service over a real socket, with an engine that a test steps by hand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from structlog.testing import capture_logs
from tokenwire.generated.tokenwire.v1 import events_pb2
from tokenwire.server.contract.errors import GenerationFailed

from ..fronts import (
    CHAT,
    GENERATE,
    Client,
    check,
    collect,
    connect,
    failure_of,
    scrape,
    start_front,
)
from ..scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher

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
    """A deadline that passes ends the call with DEADLINE_EXCEEDED and aborts the engine."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        failure = await failure_of(client.inference.Chat(client.chat("go"), timeout=0.3))
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


@dataclass
class Recorded:
    """What the log and the metrics hold of the only call that a front served."""

    line: Any
    counters: list[str]
    failures: list[Any]


@asynccontextmanager
async def recorded_front(
    engine: ScriptedEngine, **values: Any
) -> AsyncGenerator[tuple[Client, Callable[[], Awaitable[Recorded]]]]:
    """A front, and what it recorded once its calls have ended."""
    with capture_logs() as lines:
        async with start_front(ScriptedLauncher(engine).prepare, **values) as client:

            async def read() -> Recorded:
                async with asyncio.timeout(30):
                    await client.app._requests.wait_idle()
                (line,) = [line for line in lines if line["event"] == "request"]
                counters = [
                    line
                    for line in await scrape(client)
                    if re.match(r"llm_requests_(finished|rejected|aborted)_total.* 1\.0$", line)
                ]
                failures = [line for line in lines if line["event"] == "call_failed"]
                return Recorded(line, counters, failures)

            yield client, read


async def test_answer_is_recorded_as_finished() -> None:
    """A call that ends well is `finished` in the log, with its numbers, and counted so."""
    engine = ScriptedEngine()
    engine.allow(2)
    async with recorded_front(engine) as (client, read):
        request = client.chat("one two")
        request.sampling.max_tokens = 2
        await collect(client.inference.Chat(request))
        recorded = await read()
    assert recorded.line["outcome"] == "finished"
    assert recorded.line["finish_reason"] == "length"
    assert recorded.line["num_prompt_tokens"] == recorded.line["num_completion_tokens"] == 2
    finished = f'llm_requests_finished_total{{finish_reason="length",model="{MODEL_ID}"}} 1.0'
    assert recorded.counters == [finished]


async def test_caller_who_leaves_is_recorded_as_aborted() -> None:
    """A call that its caller gives up is `aborted`."""
    engine = ScriptedEngine()
    async with recorded_front(engine) as (client, read):
        call = client.inference.Chat(client.chat("go"))
        await engine.wait_until(running=1)
        call.cancel()
        await engine.wait_until(running=0)
        recorded = await read()
    assert recorded.line["outcome"] == "aborted"
    assert recorded.counters == [f'llm_requests_aborted_total{{model="{MODEL_ID}"}} 1.0']


@pytest.mark.parametrize("failure", [ValueError("a bug"), asyncio.CancelledError()])
@pytest.mark.parametrize("delivery", [events_pb2.DELIVERY_DELTAS, events_pb2.DELIVERY_FINAL])
async def test_unforeseen_failure_is_recorded_as_internal(
    failure: Exception, delivery: events_pb2.Delivery.ValueType
) -> None:
    """A bug is INTERNAL and no caller who left; the log has it in full, once, with the id."""
    engine = ScriptedEngine()
    engine.failure = failure
    engine.allow(1)
    async with recorded_front(engine) as (client, read):
        request = client.chat("go", delivery=delivery)
        refused = await failure_of(client.inference.Chat(request))
        recorded = await read()
    assert refused.reason == "INTERNAL"
    assert recorded.line["outcome"] == "INTERNAL"
    assert recorded.counters == [rejected("INTERNAL")]
    (logged,) = recorded.failures
    assert logged["exc_info"]


async def test_failure_of_the_engine_is_recorded_with_its_detail() -> None:
    """What the engine said is in the log line of the request, and not in the caller's status."""
    engine = ScriptedEngine()
    engine.failure = GenerationFailed("the engine refused", detail="canary-text")
    engine.allow(1)
    async with recorded_front(engine) as (client, read):
        refused = await failure_of(client.inference.Chat(client.chat("go")))
        recorded = await read()
    assert "canary" not in repr(refused)
    assert recorded.line["outcome"] == "GENERATION_FAILED"
    assert recorded.line["detail"] == "canary-text"
    assert recorded.counters == [rejected("GENERATION_FAILED")]
    assert recorded.failures == []


async def test_deadline_is_recorded_as_such() -> None:
    """A caller whose deadline passes has not left."""
    engine = ScriptedEngine()
    async with recorded_front(engine) as (client, read):
        call = client.inference.Chat(client.chat("go"), timeout=0.3)
        await engine.wait_until(running=1)
        await failure_of(call)
        await engine.wait_until(running=0)
        recorded = await read()
        handled = [line for line in await scrape(client) if "DeadlineExceeded" in line]
    assert recorded.line["outcome"] == "DEADLINE_EXCEEDED"
    assert recorded.counters == [rejected("DEADLINE_EXCEEDED")]
    assert any('grpc_method="Chat"' in line and line.endswith(" 1.0") for line in handled)


async def test_end_of_the_drain_is_recorded_as_such() -> None:
    """A call that the drain ends is DRAINING."""
    engine = ScriptedEngine()
    async with recorded_front(engine, LLM_DRAIN_TIMEOUT_S="0.05") as (client, read):
        call = client.inference.Chat(client.chat("go"))
        await engine.wait_until(running=1)
        await client.app.drain()
        await failure_of(call)
        recorded = await read()
    assert recorded.line["outcome"] == "DRAINING"
    assert recorded.counters == [rejected("DRAINING")]


async def test_unknown_model_is_no_label() -> None:
    """A model that is not served is logged, and not counted: the label would be the caller's."""
    async with recorded_front(ScriptedEngine()) as (client, read):
        await failure_of(client.inference.Chat(client.on("canary").chat("go")))
        recorded = await read()
    assert recorded.line["outcome"] == "UNSUPPORTED_MODEL"
    assert recorded.counters == []


def rejected(reason: str) -> str:
    return f'llm_requests_rejected_total{{model="{MODEL_ID}",reason="{reason}"}} 1.0'
