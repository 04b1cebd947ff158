"""Prompts that are tokenised at once, and those that wait for it."""

from __future__ import annotations

import asyncio

import pytest
from tokenwire.server.contract.errors import AtCapacity
from tokenwire.server.models.renders import Renders
from tokenwire.server.settings.fixed_limits import MAX_CONCURRENT_RENDERS, MAX_RENDER_BYTES


async def test_no_more_than_so_many_at_once() -> None:
    """One more waits until another has its tokens."""
    renders, entered, leave = Renders(), asyncio.Semaphore(0), asyncio.Event()

    async def render() -> None:
        async with renders.turn(1):
            entered.release()
            await leave.wait()

    async with asyncio.timeout(45), asyncio.TaskGroup() as tasks:
        for _ in range(MAX_CONCURRENT_RENDERS + 1):
            tasks.create_task(render())
        for _ in range(MAX_CONCURRENT_RENDERS):
            await entered.acquire()
        assert entered.locked()
        leave.set()
        await entered.acquire()


async def test_bytes_are_bounded() -> None:
    """What waits is refused beyond the limit, with limit and actual, and counts no longer."""
    renders = Renders()
    async with renders.turn(MAX_RENDER_BYTES - 1):
        async with renders.turn(1):
            pass
        with pytest.raises(AtCapacity) as raised:
            async with renders.turn(2):
                pass
    assert raised.value.metadata == {
        "limit": str(MAX_RENDER_BYTES),
        "actual": str(MAX_RENDER_BYTES + 1),
    }
    async with renders.turn(MAX_RENDER_BYTES):
        pass


async def test_one_alone_may_be_larger() -> None:
    """A prompt over the limit is rendered where no other is."""
    async with Renders().turn(MAX_RENDER_BYTES + 1):
        pass
