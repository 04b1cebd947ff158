"""Engines that are killed, hang and flood, with streams open over gRPC and SSE."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from tokenwire.server.contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    Started,
    TextDelta,
)

from ..server.fronts import collect, failure_of, start_front
from ..server.scripted_engine import ScriptedEngine, ScriptedLauncher
from .callers import GrpcCaller, Stream
from .chaos import replaced_engine
from .history import End, History, check
from .lines import line_to
from .numbered import whole_text
from .processes import Edge, Front, eventually, read_page, running_edge, running_front
from .results import longest, note
from .scripted_child import POISON
from .sse_caller import Native, SseCaller

pytestmark = pytest.mark.faults

MODEL = "test/scripted"
PACE_S = 0.03
ROOM = {"LLM_MAX_CONCURRENT_REQUESTS": "64", "LLM_MAX_QUEUED_REQUESTS": "1000"}
GUARD_S = 60


def numbered(name: str, num_tokens: int = 100) -> Stream:
    """A stream of the scripted child that stays to its end."""
    return Stream(name, name, whole_text(name, num_tokens), num_tokens, 0)


@asynccontextmanager
async def open_streams(
    front: Front, edge: Edge, num_streams: int = 32, num_tokens: int = 100
) -> AsyncIterator[list[asyncio.Task[History]]]:
    """Opens streams, half of them over SSE, and waits until each has said something."""
    async with AsyncExitStack() as opened:
        over_grpc = await opened.enter_async_context(line_to(front.port))
        over_http = await opened.enter_async_context(line_to(edge.port))
        grpc_caller = GrpcCaller(over_grpc, MODEL)
        opened.push_async_callback(grpc_caller.channel.close)
        sse_caller = SseCaller(over_http, MODEL, lambda: edge.num_kills, Native())
        opened.push_async_callback(sse_caller.session.close)
        callers = (grpc_caller, sse_caller)
        streams = [numbered(f"s{i}", num_tokens) for i in range(num_streams)]
        async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
            reading = [
                tasks.create_task(callers[i % 2].run(stream)) for i, stream in enumerate(streams)
            ]
            for stream in streams:
                await stream.told.wait()
            yield reading


def kinds_of(histories: Sequence[History]) -> list[str]:
    """What is wrong with some histories."""
    return [finding.kind for history in histories for finding in check(history)]


@pytest.mark.parametrize("continues", ["true", "false"])
async def test_engine_is_killed(continues: str) -> None:
    """Streams go on, or end with ENGINE_LOST; readiness falls and comes back."""
    wanted = {(End.FINISHED, "")} if continues == "true" else {(End.FAILED, "ENGINE_LOST")}
    async with (
        running_front(pace_s=PACE_S, LLM_CRASH_CONTINUATION=continues, **ROOM) as front,
        running_edge(front) as edge,
    ):
        async with open_streams(front, edge) as reading:
            recovery_s = await replaced_engine(front)
            histories = await asyncio.gather(*reading)
        await eventually(front.is_idle)
        num_finished = await front.gauge("llm_requests_finished_total")
    assert kinds_of(histories) == []
    assert {(history.end, history.reason) for history in histories} == wanted
    assert num_finished == (32 if continues == "true" else 0)
    note(1, num_open=32, recovery_s=recovery_s)


async def test_engine_hangs() -> None:
    """A stopped engine is taken for dead, and its streams go on with the next one."""
    async with (
        running_front(pace_s=PACE_S, LLM_STALL_TIMEOUT_S="1", **ROOM) as front,
        running_edge(front) as edge,
    ):
        async with open_streams(front, edge) as reading:
            recovery_s = await replaced_engine(front, signal.SIGSTOP)
            histories = await asyncio.gather(*reading)
        await eventually(front.is_idle)
    assert kinds_of(histories) == []
    assert {history.end for history in histories} == {End.FINISHED}
    note(2, num_open=32, recovery_s=recovery_s)


async def test_metrics_while_the_engine_hangs() -> None:
    """A stopped engine holds up neither the page of metrics nor health."""
    async with running_front(pace_s=PACE_S) as front, running_edge(front) as edge:
        (pid,) = front.engine_pids
        os.kill(pid, signal.SIGSTOP)
        took_s = [
            await timed(asyncio.to_thread(read_page, f"http://127.0.0.1:{port}{path}"))
            for port, path in (
                (front.metrics_port, "/metrics"),
                (edge.port, "/metrics"),
                (edge.port, "/health/live"),
            )
        ]
        os.kill(pid, signal.SIGCONT)
    assert max(took_s) < GUARD_S
    note(25, num_tried=len(took_s), recovery_s=longest(took_s))


async def test_poison_among_good_streams() -> None:
    """One request that kills each engine fails alone; fifty good ones finish, whole."""
    async with (
        running_front(pace_s=PACE_S, **ROOM) as front,
        running_edge(front) as edge,
        open_streams(front, edge, 50, num_tokens=200) as reading,
        line_to(front.port) as line,
    ):
        caller = GrpcCaller(line, MODEL)
        poison = await caller.run(numbered(POISON))
        histories = await asyncio.gather(*reading)
        await caller.channel.close()
        num_deaths = await front.gauge("llm_engine_restarts_total")
    assert kinds_of([poison, *histories]) == []
    assert (poison.end, poison.reason) == (End.FAILED, "GENERATION_FAILED")
    assert {history.end for history in histories} == {End.FINISHED}
    note(29, num_tried=int(num_deaths), num_open=51)


async def timed(wait: Awaitable[object]) -> float:
    """Awaits; returns the seconds."""
    start_s = time.monotonic()
    await wait
    return time.monotonic() - start_s


END = ChoiceFinished(FinishReason.LENGTH)
MISBEHAVIOUR: dict[str, list[EngineEvent]] = {
    "text of no choice": [Started(0), TextDelta("a", 1, choice=7), END, Finished(1, 0)],
    "text behind the end": [Started(0), END, TextDelta("a", 1), Finished(1, 0)],
    "two ends": [Started(0), TextDelta("a", 1), END, END, Finished(1, 0)],
    "text before the start": [TextDelta("a", 1), Started(0), END, Finished(1, 0)],
    "an end of its own accord": [Started(0), TextDelta("a", 1)],
    "nothing at all": [Finished(0, 0)],
}


@pytest.mark.parametrize("script", MISBEHAVIOUR.values(), ids=MISBEHAVIOUR)
async def test_engine_breaks_its_order(script: list[EngineEvent]) -> None:
    """A stream of an engine that breaks the order ends, and no other is hurt by it."""
    engine = BrokenEngine(script, context_length=4096)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        engine.allow(100)
        good = client.inference.Chat(client.chat("good"))
        async with asyncio.timeout(GUARD_S):
            _, told = await end_of(client.inference.Chat(client.chat("bad")))
            engine.allow(1000)
            whole = await collect(good)
    assert told in ("OK", "INTERNAL", "UNAVAILABLE")
    assert whole.text == "".join(f"{number} " for number in range(512))
    note(27, num_open=2)


async def test_engine_floods() -> None:
    """Twenty thousand pieces and one of 16 MB are told whole, or refused: nothing is lost."""
    flood = [TextDelta("x" * 10, 1) for _ in range(20_000)]
    script = [Started(0), *flood, TextDelta("y" * 16_000_000, 1), END, Finished(20_001, 0)]
    engine = ScriptedEngine(script=script)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        engine.allow(40_000)
        async with asyncio.timeout(GUARD_S * 2):
            num_characters, told = await end_of(client.inference.Chat(client.chat("go")))
            late = client.chat("go")
            assert await failure_of(client.inference.Chat(late, timeout=0.5))
        await engine.wait_until(running=0)
    assert told == "OK" if num_characters == 16_200_000 else told == "RESOURCE_EXHAUSTED", told
    note(27, num_open=1)


async def end_of(call: Any) -> tuple[int, str]:
    """Reads a call to its end; returns how much text it said, and its status."""
    try:
        return len((await collect(call)).text), "OK"
    except grpc.aio.AioRpcError as error:
        return 0, error.code().name


class BrokenEngine(ScriptedEngine):
    """Says a broken script to whoever asks "bad"."""

    def __init__(self, broken: Sequence[EngineEvent], **options: int) -> None:
        super().__init__(**options)  # type: ignore[arg-type] # numbers by name
        self._broken = broken

    async def generate(self, request):  # type: ignore[no-untyped-def]
        prompt = self.prompts[len(self.requests)]
        if prompt.messages[-1].content != "bad":
            async for event in super().generate(request):
                yield event
            return
        self.requests.append(request)
        for event in self._broken:
            yield event
