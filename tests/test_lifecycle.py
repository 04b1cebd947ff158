"""What ends a process of the service, and waits for the first of several things."""

from __future__ import annotations

import asyncio
import os
import signal

from tokenwire.lifecycle import running_beside, shutdown_signals, wait_first

GUARD_S = 45.0


async def never(has_ended: asyncio.Event) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        has_ended.set()


async def test_first_wait_ends_the_others() -> None:
    """The first one to be over keeps its result; the others are cancelled, and done by then."""
    has_ended = asyncio.Event()
    first = asyncio.ensure_future(asyncio.sleep(0, "done"))
    other = asyncio.ensure_future(never(has_ended))
    async with asyncio.timeout(GUARD_S):
        await wait_first(other, first)
    assert first.result() == "done"
    assert other.cancelled()
    assert has_ended.is_set()


async def test_time_ends_all_waits() -> None:
    """When none is over in time, all of them are cancelled."""
    waits = [asyncio.ensure_future(never(asyncio.Event())) for _ in range(2)]
    async with asyncio.timeout(GUARD_S):
        await wait_first(*waits, timeout_s=0.0)
    assert all(wait.cancelled() for wait in waits)


async def test_cancelled_caller_leaves_nothing_behind() -> None:
    """Whoever is cancelled during the wait ends what it waited for."""
    has_begun, has_ended = asyncio.Event(), asyncio.Event()

    async def begin() -> None:
        has_begun.set()
        await never(has_ended)

    caller = asyncio.ensure_future(wait_first(begin()))
    await has_begun.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    assert caller.cancelled()
    assert has_ended.is_set()


async def test_first_signal_drains_and_second_forces() -> None:
    """One SIGTERM asks for a drain, the next one for the end."""
    async with asyncio.timeout(GUARD_S):
        with shutdown_signals() as shutdown:
            os.kill(os.getpid(), signal.SIGTERM)
            await shutdown.draining.wait()
            assert not shutdown.forced.is_set()
            os.kill(os.getpid(), signal.SIGINT)
            await shutdown.forced.wait()


async def test_what_runs_beside_has_ended_behind_the_body() -> None:
    """Its last words are spoken when the body's end is reached, and how it ended is no matter."""
    said: list[str] = []

    async def work() -> None:
        try:
            said.append("begun")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            said.append("ended")
            raise ValueError("on its way out")

    async with running_beside(work(), "beside"):
        await asyncio.sleep(0)
        assert said == ["begun"]
    assert said == ["begun", "ended"]
