"""Priority and deadlines of callers who wait for a slot, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tokenwire.server.contract.engine import EngineRequest
from tokenwire.server.contract.events import EngineEvent
from tokenwire.server.models.admission import Admission

from ..fronts import collect, failure_of, start_front
from ..scripted_engine import ScriptedEngine, ScriptedLauncher


async def test_higher_priority_goes_first() -> None:
    """Of those who wait for the one slot, the more urgent gets it first."""
    engine = ScriptedEngine()
    prepare = ScriptedLauncher(engine).prepare
    async with start_front(prepare, LLM_MAX_CONCURRENT_REQUESTS="1") as client:

        def call(priority: int, max_tokens: int) -> Any:
            request = client.chat("go", priority=priority, progress=True)
            request.sampling.max_tokens = (
                max_tokens  # by which the engine's requests are told apart
            )
            return client.inference.Chat(request)

        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(collect(call(priority=0, max_tokens=1)))
            await engine.wait_until(running=1)
            for priority, max_tokens in [(-1, 2), (0, 3), (100, 4)]:
                stream = call(priority, max_tokens)
                assert (await stream.read()).progress.queued.place == 1
                tasks.create_task(collect(stream))
            engine.allow(100)
    assert [request.params.max_tokens for request in engine.requests] == [1, 4, 3, 2]


async def test_unreachable_deadline_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who would wait for nothing hears how long the wait is, before his deadline."""
    engine = ScriptedEngine()
    prepare = ScriptedLauncher(engine).prepare
    monkeypatch.setattr(Admission, "_expect_wait", lambda *_: 60.0)
    async with start_front(prepare, LLM_MAX_CONCURRENT_REQUESTS="1") as client:
        running = client.inference.Chat(client.chat("runs"))
        await engine.wait_until(running=1)
        failure = await failure_of(client.inference.Chat(client.chat("late"), timeout=30))
        running.cancel()
    assert failure.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert failure.reason == "DEADLINE_UNREACHABLE"
    assert failure.metadata["expected_wait_ms"] == "60000"
    assert 0 < int(failure.metadata["remaining_ms"]) <= 31_000  # gRPC rounds a deadline up
    assert failure.retry_after_s is None


class SlowToLetGo(ScriptedEngine):
    """Still computes a step when an answer is whole, as engines do behind a stop string."""

    async def generate(self, request: EngineRequest) -> AsyncGenerator[EngineEvent]:
        async with aclosing(super().generate(request)) as events:
            try:
                async for event in events:
                    yield event
            finally:
                await asyncio.sleep(0.3)


async def test_who_has_heard_the_end_may_ask_again() -> None:
    """A caller who asks anew as soon as he reads `finished` finds the slot free."""
    engine = SlowToLetGo()
    engine.allow(6)
    prepare = ScriptedLauncher(engine).prepare
    room = {"LLM_MAX_CONCURRENT_REQUESTS": "1", "LLM_MAX_QUEUED_REQUESTS": "0"}
    async with start_front(prepare, **room) as client, asyncio.timeout(60):
        request = client.chat("go", max_queue_wait=Duration())
        request.sampling.max_tokens = 2
        for _ in range(3):
            stream = client.inference.Chat(request)
            while not (await stream.read()).HasField("finished"):
                pass
    assert len(engine.requests) == 3
