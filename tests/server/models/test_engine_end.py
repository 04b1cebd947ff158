"""What ends the wait for an engine's end."""

from __future__ import annotations

import asyncio
from typing import cast

from tokenwire.server.contract.engine import Engine
from tokenwire.server.models.engine_end import EndCause, EndWatch, EngineEnd

GUARD_S = 45.0


class DyingEngine:
    """Dies when it is told to, for the reason that it is told."""

    def __init__(self) -> None:
        self.is_awaited = asyncio.Event()
        self.death = asyncio.get_running_loop().create_future()

    async def wait_lost(self) -> str:
        self.is_awaited.set()
        return str(await self.death)


async def test_death_ends_the_wait() -> None:
    """The engine's own words tell how it ended, and an engine without words is told as such."""
    for words, reason in (("it crashed", "it crashed"), ("", "it did not say why")):
        engine = DyingEngine()
        engine.death.set_result(words)
        async with asyncio.timeout(GUARD_S):
            end = await EndWatch().wait(cast("Engine", engine))
        assert end == EngineEnd(EndCause.DIED, reason)


async def test_first_order_ends_the_wait() -> None:
    """An order ends the wait while the engine lives, and the first one is the reason."""
    engine, watch = DyingEngine(), EndWatch()
    stalled = EngineEnd(EndCause.STALLED, "it stalled")
    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(watch.wait(cast("Engine", engine)))
        await engine.is_awaited.wait()
        watch.order(stalled)
        watch.order(EngineEnd(EndCause.UNLOADED, "nobody uses it"))
        assert await waiting == stalled
    assert engine.death.cancelled()
