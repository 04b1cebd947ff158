"""Engines that hang, behind a whole front."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tokenwire.server.contract.engine import StepCount
from tokenwire.server.models.model_state import State
from tokenwire.server.models.served_model import ServedModel

from ...fronts import Client, collect, start_front, wait_for_state
from ...scripted_engine import ScriptedEngine, ScriptedLauncher

GUARD_S = 60.0
IDLE = "import sys; sys.stdin.read()"
BUSY = "while True: pass"


@asynccontextmanager
async def process_group(script: str) -> AsyncGenerator[int]:
    """A process that leads a group of its own, as an engine's does."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script), stdin=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        yield process.pid
    finally:
        process.kill()
        await process.wait()


def served(client: Client) -> ServedModel:
    return next(iter(client.app.models))


class Stepping(ScriptedEngine):
    """Counts a step each time that it is asked, and tells when it was asked often."""

    def __init__(self, num_answers: int) -> None:
        super().__init__()
        self.was_asked = asyncio.Event()
        self._counter = itertools.count(1)
        self._num_answers = num_answers

    async def count_steps(self) -> StepCount:
        number = next(self._counter)
        if number >= self._num_answers:
            self.was_asked.set()
        return StepCount(number)


async def test_idle_engine_with_work_is_replaced() -> None:
    """An engine that computes nothing ends after LLM_HANG_TIMEOUT_S, and the next one goes on."""
    frozen, healthy = ScriptedEngine(), ScriptedEngine()
    healthy.allow(100)
    launcher = ScriptedLauncher(frozen, healthy)
    async with (
        asyncio.timeout(GUARD_S),
        process_group(IDLE) as frozen.pid,
        start_front(launcher.prepare, LLM_HANG_TIMEOUT_S="0.3") as client,
    ):
        request = client.chat("go")
        request.sampling.max_tokens = 3
        assert (await collect(client.inference.Chat(request))).text == "0 1 2 "
        assert frozen.is_closed
        assert (served(client).keeper.num_hangs, served(client).keeper.num_restarts) == (1, 1)


async def test_engine_without_work_is_left_alone() -> None:
    """An idle engine is as it should be: nobody asks it anything."""
    engine, other = Stepping(1), Stepping(3)
    async with asyncio.timeout(GUARD_S), process_group(IDLE) as engine.pid:
        launcher = ScriptedLauncher(engine)
        busy = ScriptedLauncher(other)
        async with (
            start_front(launcher.prepare, LLM_HANG_TIMEOUT_S="0.1") as client,
            start_front(busy.prepare, LLM_HANG_TIMEOUT_S="0.3") as clock,
        ):
            call = clock.inference.Chat(clock.chat("go"))
            await other.was_asked.wait()  # longer than the hang of the first
            call.cancel()
            assert served(client).keeper.num_hangs == 0
            assert not engine.was_asked.is_set()


async def test_engine_that_steps_is_left_alone() -> None:
    """A prompt may be read for much longer than the time, a step after the other."""
    engine = Stepping(30)
    async with (
        asyncio.timeout(GUARD_S),
        process_group(IDLE) as engine.pid,
        start_front(ScriptedLauncher(engine).prepare, LLM_HANG_TIMEOUT_S="0.1") as client,
    ):
        request = client.chat("go")
        request.sampling.max_tokens = 1
        call = client.inference.Chat(request)
        await engine.was_asked.wait()
        engine.allow(1)
        assert (await collect(call)).text == "0 "
        assert served(client).keeper.num_hangs == 0


async def test_zero_turns_it_off() -> None:
    engine, other = Stepping(1), Stepping(10)
    async with (
        asyncio.timeout(GUARD_S),
        process_group(IDLE) as engine.pid,
        start_front(ScriptedLauncher(engine).prepare, LLM_HANG_TIMEOUT_S="0") as client,
        start_front(ScriptedLauncher(other).prepare, LLM_HANG_TIMEOUT_S="0.1") as clock,
    ):
        calls = [each.inference.Chat(each.chat("go")) for each in (client, clock)]
        await other.was_asked.wait()
        assert served(client).keeper.num_hangs == 0
        assert not engine.was_asked.is_set()
        for call in calls:
            call.cancel()


async def test_busy_engine_without_a_step_is_replaced_later() -> None:
    """An endless step is found, too, in ten times the time."""
    stuck, healthy = ScriptedEngine(), ScriptedEngine()
    launcher = ScriptedLauncher(stuck, healthy)
    async with (
        asyncio.timeout(GUARD_S),
        process_group(BUSY) as stuck.pid,
        start_front(launcher.prepare, LLM_HANG_TIMEOUT_S="0.05") as client,
    ):
        call = client.inference.Chat(client.chat("go"))
        await stuck.wait_until(running=1)
        await wait_for_state(client.app, State.LOADING)
        await wait_for_state(client.app, State.SERVING)
        assert stuck.is_closed
        call.cancel()
