"""How often an engine is asked for its status, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from tokenwire.server.contract.engine import EngineStatus
from tokenwire.server.models import status_watch
from tokenwire.server.models.standing import Standing
from tokenwire.server.models.status_watch import StatusWatch

from ..fronts import check, start_front, wait_until
from ..scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher


class Watched:
    """A model with a watch on it, idle or not as a test says."""

    def __init__(self, interval_s: float) -> None:
        self.is_idle = True
        self.standing = Standing(MODEL_ID, is_on_demand=False, on_change=self._wake)
        self.watch = StatusWatch(self.standing, lambda: self.is_idle, interval_s)

    def _wake(self) -> None:
        self.watch.wake()


@asynccontextmanager
async def watched(interval_s: float = 3600.0) -> AsyncGenerator[Watched]:
    made = Watched(interval_s)
    task = asyncio.create_task(made.watch.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _asked(engine: ScriptedEngine, num_times: int) -> None:
    """Waits until an engine was asked this often, and what it told is kept."""
    async with asyncio.timeout(45), engine.changed:
        await engine.changed.wait_for(lambda: engine.num_asked >= num_times)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_an_engine_is_asked_as_soon_as_it_serves() -> None:
    """The first status does not wait for the interval, nor that of the next engine."""
    async with watched() as model:
        assert model.watch.latest is None
        first, second = ScriptedEngine(), ScriptedEngine()
        first.kv_usage, second.kv_usage = 0.25, 0.5
        model.standing.serve(first)
        await _asked(first, 1)
        assert model.watch.latest == EngineStatus(0, 0, 0.25)
        model.standing.end_engine()
        assert model.watch.latest is None
        model.standing.serve(second)
        assert model.watch.latest is None
        await _asked(second, 1)
        assert model.watch.latest == EngineStatus(0, 0, 0.5)


async def test_an_engine_with_work_is_asked_again() -> None:
    """While requests run the newest status is kept."""
    async with watched(0.001) as model:
        model.is_idle = False
        engine = ScriptedEngine()
        model.standing.serve(engine)
        await _asked(engine, 3)
        engine.kv_usage = 0.75
        await _asked(engine, engine.num_asked + 2)
        assert model.watch.latest == EngineStatus(0, 0, 0.75)


async def test_an_engine_at_rest_is_left_alone() -> None:
    """With no request and nothing in its cache an engine is not asked, until one comes."""
    turns = asyncio.Semaphore(0)
    async with watched(0.001) as model:
        engine = ScriptedEngine()
        engine.kv_usage = 0.5  # what a request left behind is still counted
        model.standing.serve(engine)
        await _asked(engine, 3)
        engine.statuses.clear()
        await _asked(engine, engine.num_asked + 1)
        engine.kv_usage = 0.0
        engine.statuses.set()
        num_asked = engine.num_asked

        def look() -> bool:
            turns.release()
            return True

        model.watch._is_idle = look
        async with asyncio.timeout(45):
            for _ in range(6):  # the first one may come before the answer
                await turns.acquire()
        assert engine.num_asked == num_asked
        model.watch._is_idle = lambda: False
        await _asked(engine, num_asked + 1)


async def test_what_an_engine_does_not_tell_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A late answer and a dead engine leave no status, and the watch goes on."""
    monkeypatch.setattr(status_watch, "_MAX_ANSWER_S", 0.001)
    async with watched(0.001) as model:
        model.is_idle = False
        engine = ScriptedEngine()
        engine.kv_usage = 0.5
        model.standing.serve(engine)
        await _asked(engine, 1)
        engine.statuses.clear()
        await _asked(engine, engine.num_asked + 2)
        assert model.watch.latest is None
        engine.statuses.set()
        await _asked(engine, engine.num_asked + 2)
        assert model.watch.latest is not None
        engine.die()
        await _asked(engine, engine.num_asked + 2)
        assert model.watch.latest is None


async def test_a_fault_in_an_engine_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw in `status` does not end the watch."""
    async with watched(0.001) as model:
        model.is_idle = False
        engine = ScriptedEngine()
        ask = engine.status

        async def break_once() -> EngineStatus:
            monkeypatch.setattr(engine, "status", ask)
            raise KeyError("is_processing")

        monkeypatch.setattr(engine, "status", break_once)
        model.standing.serve(engine)
        await _asked(engine, 1)
        assert model.watch.latest == EngineStatus(0, 0)


async def test_a_front_asks_an_engine_once_it_serves() -> None:
    """A model that was loading for long tells its engine's status as soon as it serves."""
    engine = ScriptedEngine()
    engine.kv_usage = 0.25
    launcher = ScriptedLauncher(engine)
    launcher.gate.clear()
    async with start_front(launcher.prepare, wait=False) as client:
        await wait_until(client.app.models, lambda: launcher.num_launches == 1)
        await check(client, "")  # the watch has looked meanwhile, and found no engine
        model = next(iter(client.app.models))
        assert model.status is None
        launcher.gate.set()
        await _asked(engine, 1)
        assert model.status == EngineStatus(0, 0, 0.25)
