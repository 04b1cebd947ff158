"""Where a model stands, what that means for requests, and the wait for its next engine."""

from __future__ import annotations

import asyncio

import pytest
from tokenwire.server.contract.errors import ModelLoadFailed, ModelLoading
from tokenwire.server.contract.load_progress import LoadProgress
from tokenwire.server.models.model_state import State
from tokenwire.server.models.standing import Standing

from ..scripted_engine import ScriptedEngine

GUARD_S = 45.0


def make_standing(is_on_demand: bool = False) -> Standing:
    return Standing("test/model", is_on_demand=is_on_demand, on_change=lambda: None)


def fail(standing: Standing, reason: str = "broken") -> None:
    with standing.failures_recorded():
        raise ModelLoadFailed(reason)


async def test_every_change_is_reported_once() -> None:
    """The observer is called after each change, and sees the state that is true from then on."""
    seen: list[State] = []
    standing = Standing(
        "test/model", is_on_demand=False, on_change=lambda: seen.append(standing.view.state)
    )
    standing.report(LoadProgress("reading"))
    standing.serve(ScriptedEngine())
    standing.unload()
    standing.rest()
    standing.want()
    fail(standing)
    assert seen == [
        State.LOADING,
        State.SERVING,
        State.UNLOADED,
        State.UNLOADED,
        State.LOADING,
        State.FAILED,
    ]


async def test_without_an_engine_the_error_says_why() -> None:
    """`engine` raises MODEL_LOADING with the step, or MODEL_LOAD_FAILED with the reason."""
    standing = make_standing()
    standing.report(LoadProgress("reading", detail="1 of 2"))
    with pytest.raises(ModelLoading, match="reading, 1 of 2"):
        _ = standing.engine
    fail(standing, "no such file")
    with pytest.raises(ModelLoadFailed, match="no such file"):
        _ = standing.engine


async def test_load_is_on_demand_after_an_unload_alone() -> None:
    """An engine that served, or a failure, ends the demand; an unload begins it again."""
    standing = make_standing(is_on_demand=True)
    standing.serve(ScriptedEngine())
    assert not standing.is_on_demand
    standing.end_engine()
    assert not standing.is_on_demand
    standing.serve(ScriptedEngine())
    standing.unload()
    assert standing.is_on_demand
    fail(standing)
    assert not standing.is_on_demand


async def test_present_engine_is_the_next_of_another() -> None:
    """Who asks for the engine after one that was replaced already does not wait."""
    standing, dead, present = make_standing(), ScriptedEngine(), ScriptedEngine()
    standing.serve(dead)
    standing.end_engine()
    standing.serve(present)
    assert await standing.next_engine(after=dead) is present


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_next_engine_is_waited_for(is_noticed: bool) -> None:
    """All who wait get the engine in the place of the dead one, also if its death is still news."""
    standing, dead, second = make_standing(), ScriptedEngine(), ScriptedEngine()
    standing.serve(dead)
    if is_noticed:
        standing.end_engine()
    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(standing.next_engine(after=dead)) for _ in range(3)]
        await asyncio.sleep(0)
        standing.end_engine()
        standing.restart()
        await asyncio.sleep(0)
        assert not any(wait.done() for wait in waits)
        standing.serve(second)
    assert [wait.result() for wait in waits] == [second] * 3


async def test_wait_for_an_engine_ends_with_the_model() -> None:
    """Where there will be no other engine the wait ends with MODEL_LOAD_FAILED, now and later."""
    standing, dead = make_standing(), ScriptedEngine()
    standing.serve(dead)
    waiting = asyncio.ensure_future(standing.next_engine(after=dead))
    await asyncio.sleep(0)
    standing.end_engine()
    fail(standing, "it died nine times")
    async with asyncio.timeout(GUARD_S):
        for wait in (waiting, standing.next_engine(after=dead)):
            with pytest.raises(ModelLoadFailed, match="it died nine times"):
                await wait
