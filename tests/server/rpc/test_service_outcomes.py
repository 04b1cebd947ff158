"""How each call ended, as log and metrics have it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs
from tokenwire.generated.tokenwire.v1 import events_pb2
from tokenwire.server.contract.errors import GenerationFailed
from tokenwire.server.request.log.request_log import RequestLog

from ..fronts import Client, collect, failure_of, scrape, start_front
from ..scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher


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
    assert recorded.counters == [aborted("CLIENT_LEFT")]


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
    assert recorded.counters == [aborted("INTERNAL")]
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
    assert recorded.counters == [aborted("GENERATION_FAILED")]
    assert recorded.failures == []


async def test_deadline_is_recorded_as_such() -> None:
    """A caller whose deadline passes has not left."""
    engine = ScriptedEngine()
    async with recorded_front(engine) as (client, read):
        # Long enough for the request to run before it passes, on a busy machine, too.
        call = client.inference.Chat(client.chat("go"), timeout=2)
        await engine.wait_until(running=1)
        await failure_of(call)
        await engine.wait_until(running=0)
        recorded = await read()
        handled = [line for line in await scrape(client) if "DeadlineExceeded" in line]
    assert recorded.line["outcome"] == "DEADLINE_EXCEEDED"
    assert recorded.counters == [aborted("DEADLINE_EXCEEDED")]
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
    assert recorded.counters == [aborted("DRAINING")]


async def test_caller_who_lags_too_far_is_recorded_as_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A caller for whom deltas were dropped hears RESUME_EXPIRED, and the request ends with it."""
    full = "tokenwire.server.request.running_request.RequestLog"
    monkeypatch.setattr(full, lambda: RequestLog(max_bytes=0))
    engine = ScriptedEngine()
    engine.allow(1)
    async with recorded_front(engine) as (client, read):
        failure = await failure_of(client.inference.Chat(client.chat("go")))
        recorded = await read()
    assert failure.code is grpc.StatusCode.OUT_OF_RANGE
    assert (failure.reason, failure.metadata["oldest_position"]) == ("RESUME_EXPIRED", "1")
    assert engine.num_aborted == 1
    assert recorded.line["outcome"] == "RESUME_EXPIRED"
    assert recorded.counters == [aborted("RESUME_EXPIRED")]


async def test_bug_while_sending_is_recorded_as_internal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug on the way to the caller is no caller who left, and ends the request."""

    def fail(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("tokenwire.server.rpc.sender.encode_started", fail)
    engine = ScriptedEngine()
    engine.allow(1)
    async with recorded_front(engine) as (client, read):
        failure = await failure_of(client.inference.Chat(client.chat("go")))
        recorded = await read()
    assert failure.reason == "INTERNAL"
    assert engine.num_aborted == 1
    assert recorded.line["outcome"] == "INTERNAL"
    (logged,) = recorded.failures
    assert logged["exc_info"]


@pytest.mark.parametrize("lazy", ["false", "true"])
async def test_refusal_is_recorded_as_such(lazy: str) -> None:
    """A call that no engine began is rejected, not aborted, even where it had a slot by then."""
    engine = ScriptedEngine(context_length=2)
    async with recorded_front(engine, wait=lazy == "false", LLM_LAZY_LOAD=lazy) as (client, read):
        await failure_of(client.inference.Chat(client.chat("one two three")))
        recorded = await read()
    assert recorded.line["outcome"] == "CONTEXT_TOO_LONG"
    assert recorded.counters == [rejected("CONTEXT_TOO_LONG")]


async def test_unknown_model_is_no_label() -> None:
    """A model that is not served is logged, and counted without it: it is the caller's own text."""
    async with recorded_front(ScriptedEngine()) as (client, read):
        await failure_of(client.inference.Chat(client.on("canary").chat("go")))
        recorded = await read()
    assert recorded.line["outcome"] == "UNSUPPORTED_MODEL"
    assert recorded.counters == [rejected("UNSUPPORTED_MODEL", "unknown")]


def rejected(reason: str, model: str = MODEL_ID) -> str:
    return f'llm_requests_rejected_total{{model="{model}",reason="{reason}"}} 1.0'


def aborted(cause: str) -> str:
    return f'llm_requests_aborted_total{{cause="{cause}",model="{MODEL_ID}"}} 1.0'
