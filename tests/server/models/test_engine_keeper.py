"""An engine that lives and does nothing, and the one in its place; with a clock moved by hand."""

from __future__ import annotations

import asyncio

import pytest
from tokenwire.server.models.model_state import State
from tokenwire.server.settings.fixed_limits import MAX_CONCURRENT_RENDERS

from ..fronts import collect, failure_of, start_front, wait_for_state, wait_until
from ..scripted_engine import ScriptedEngine, ScriptedLauncher, ScriptedPreparation
from .hand_clock import HandClock

OFF = {"LLM_CRASH_CONTINUATION": "false"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    made = HandClock()
    monkeypatch.setattr("tokenwire.server.models.stall_timer.get_running_loop", lambda: made)
    return made


async def test_frozen_engine_is_replaced(clock: HandClock) -> None:
    """Its streams end with ENGINE_LOST after LLM_STALL_TIMEOUT_S, and the next engine answers."""
    frozen, healthy = ScriptedEngine(), ScriptedEngine()
    healthy.allow(1)
    launcher = ScriptedLauncher(frozen, healthy)
    async with start_front(launcher.prepare, LLM_STALL_TIMEOUT_S="100", **OFF) as client:
        call = client.inference.Chat(client.chat("go"))
        await frozen.wait_until(running=1)
        clock.advance(100)
        failure = await failure_of(call)
        assert failure.reason == "ENGINE_LOST"
        assert failure.retry_after_s == 5
        await wait_for_state(client.app, State.SERVING)
        request = client.chat("go")
        request.sampling.max_tokens = 1
        assert (await collect(client.inference.Chat(request))).text == "0 "
        assert frozen.is_closed
        assert next(iter(client.app.models)).keeper.num_restarts == 1


async def test_stream_of_a_frozen_engine_goes_on(clock: HandClock) -> None:
    """Its streams go on with the next engine, which their wait for it does not condemn."""
    frozen, healthy = ScriptedEngine(), ScriptedEngine()
    launcher = ScriptedLauncher(frozen, healthy)
    async with start_front(launcher.prepare, LLM_STALL_TIMEOUT_S="100") as client:
        request = client.chat("go")
        request.sampling.max_tokens = 2
        call = client.inference.Chat(request)
        frozen.allow(1)
        while (await call.read()).WhichOneof("event") != "deltas":
            pass
        launcher.gate.clear()
        clock.advance(100)
        await wait_until(client.app.models, lambda: launcher.num_launches == 2)
        clock.advance(500)
        launcher.gate.set()
        await healthy.wait_until(running=1)
        clock.advance(99)
        healthy.allow(1)
        assert (await collect(call)).text == "1 "
        assert next(iter(client.app.models)).engine is healthy


async def test_every_token_is_a_sign(clock: HandClock) -> None:
    """An answer may take longer than LLM_STALL_TIMEOUT_S as long as tokens come."""
    engine = ScriptedEngine()
    async with start_front(
        ScriptedLauncher(engine).prepare, LLM_STALL_TIMEOUT_S="100", **OFF
    ) as client:
        request = client.chat("go")
        request.sampling.max_tokens = 5
        call = client.inference.Chat(request)
        await engine.wait_until(running=1)
        for _ in range(4):
            engine.allow(1)
            while (await call.read()).WhichOneof("event") != "deltas":
                pass
            clock.advance(90)
        engine.allow(1)
        assert (await collect(call)).text == "4 "
        assert next(iter(client.app.models)).engine is engine


async def test_engine_that_reads_no_prompt_is_replaced(clock: HandClock) -> None:
    """A frozen engine is found, too, where no request got as far as a slot."""
    frozen = ScriptedEngine()
    frozen.renders.clear()
    launcher = ScriptedLauncher(frozen)
    async with start_front(launcher.prepare, LLM_STALL_TIMEOUT_S="100", **OFF) as client:
        call = client.inference.Chat(client.chat("go"))
        await frozen.wait_until_rendering(1)
        clock.advance(100)
        assert (await failure_of(call)).reason == "ENGINE_LOST"
        assert frozen.is_closed


async def test_prompts_that_are_read_hide_no_frozen_model(clock: HandClock) -> None:
    """Whoever tries again and again has his prompt read: that is no sign of those who wait."""
    frozen = ScriptedEngine()
    launcher = ScriptedLauncher(frozen)
    async with (
        asyncio.timeout(60),
        start_front(launcher.prepare, LLM_STALL_TIMEOUT_S="100", **OFF) as client,
    ):
        call = client.inference.Chat(client.chat("waits"))
        await frozen.wait_until(running=1)
        for _ in range(3):
            clock.advance(30)
            other = client.inference.Chat(client.chat("tries"))
            await frozen.wait_until(running=2)
            other.cancel()
            await frozen.wait_until(running=1)
        clock.advance(10)
        assert (await failure_of(call)).reason == "ENGINE_LOST"


async def test_clients_that_give_up_hide_no_frozen_model(clock: HandClock) -> None:
    """Each has its prompt read and leaves: the time in which they waited adds up."""
    frozen = ScriptedEngine()
    launcher = ScriptedLauncher(frozen)
    async with (
        asyncio.timeout(60),
        start_front(launcher.prepare, LLM_STALL_TIMEOUT_S="100", **OFF) as client,
    ):
        for num_left in range(1, 4):
            call = client.inference.Chat(client.chat("go"))
            await frozen.wait_until(running=1)
            clock.advance(30)
            call.cancel()
            await frozen.wait_until(running=0, aborted=num_left)
        call = client.inference.Chat(client.chat("go"))
        await frozen.wait_until(running=1)
        clock.advance(10)
        assert (await failure_of(call)).reason == "ENGINE_LOST"


async def test_prompt_that_was_read_is_a_sign(clock: HandClock) -> None:
    """Reading the prompt and generating each have the whole time."""
    engine = ScriptedEngine()
    engine.renders.clear()
    async with start_front(
        ScriptedLauncher(engine).prepare, LLM_STALL_TIMEOUT_S="100", **OFF
    ) as client:
        request = client.chat("go")
        request.sampling.max_tokens = 1
        call = client.inference.Chat(request)
        await engine.wait_until_rendering(1)
        clock.advance(90)
        engine.renders.set()
        await engine.wait_until(running=1)
        clock.advance(90)
        engine.allow(1)
        assert (await collect(call)).text == "0 "
        assert next(iter(client.app.models)).keeper.num_restarts == 0
        assert next(iter(client.app.models)).engine is engine


async def test_frozen_engine_holds_up_no_other_model() -> None:
    """However many prompts wait for a frozen engine, those of another model are read."""
    frozen, healthy = ScriptedEngine(), ScriptedEngine()
    frozen.renders.clear()
    healthy.allow(1)
    launchers = {"test/a": ScriptedLauncher(frozen), "test/b": ScriptedLauncher(healthy)}
    async with start_front(
        ScriptedPreparation(launchers).prepare, LLM_ALLOWED_MODELS="test/a,test/b"
    ) as client:
        await wait_for_state(client.app, State.SERVING, model="test/b")
        hung = [client.inference.Chat(client.chat("go")) for _ in range(2 * MAX_CONCURRENT_RENDERS)]
        await frozen.wait_until_rendering(MAX_CONCURRENT_RENDERS)
        request = client.on("test/b").chat("go")
        request.sampling.max_tokens = 1
        assert (await collect(client.inference.Chat(request))).text == "0 "
        for call in hung:
            call.cancel()


async def test_next_engine_has_the_whole_time(clock: HandClock) -> None:
    """The silence of an engine that died is not held against the one in its place."""
    first, second = ScriptedEngine(), ScriptedEngine()
    second.renders.clear()
    launcher = ScriptedLauncher(first, second)
    async with start_front(launcher.prepare, LLM_STALL_TIMEOUT_S="100", **OFF) as client:
        request = client.chat("go")
        request.sampling.max_tokens = 1
        lost = client.inference.Chat(request)
        await first.wait_until(running=1)
        clock.advance(90)
        first.die()
        assert (await failure_of(lost)).reason == "ENGINE_LOST"
        await wait_until(client.app.models, lambda: launcher.num_launches == 2)
        await wait_for_state(client.app, State.SERVING)
        call = client.inference.Chat(request)
        await second.wait_until_rendering(1)
        clock.advance(90)
        second.renders.set()
        second.allow(1)
        assert (await collect(call)).text == "0 "
        assert next(iter(client.app.models)).engine is second


async def test_work_that_outlives_an_engine_condemns_no_other(clock: HandClock) -> None:
    """A generation that waits for the next engine is work, and that engine has the whole time."""
    first, second = ScriptedEngine(), ScriptedEngine()
    launcher = ScriptedLauncher(first, second)
    async with start_front(launcher.prepare, LLM_STALL_TIMEOUT_S="100", **OFF) as client:
        model = next(iter(client.app.models))
        with model.stall_timer.work():
            clock.advance(90)
            launcher.gate.clear()
            first.die()
            await wait_until(client.app.models, lambda: launcher.num_launches == 2)
            clock.advance(500)
            launcher.gate.set()
            await wait_for_state(client.app, State.SERVING)
            clock.advance(99)
            assert model.engine is second
            clock.advance(1)
            await wait_until(client.app.models, lambda: model.keeper.num_restarts == 2)
        assert second.is_closed


async def test_queued_requests_wait_for_the_next_engine() -> None:
    """Who waits for a slot when the engine dies hears of the restart, and then gets an answer."""
    first, second = ScriptedEngine(max_running=1), ScriptedEngine(max_running=1)
    launcher = ScriptedLauncher(first, second)
    async with start_front(launcher.prepare, **OFF) as client:
        running = client.inference.Chat(client.chat("go"))
        await first.wait_until(running=1)
        request = client.chat("go", progress=True)
        request.sampling.max_tokens = 1
        calls = [client.inference.Chat(request) for _ in range(3)]
        for call in calls:
            assert (await call.read()).progress.HasField("queued")
        launcher.gate.clear()
        first.die()
        assert (await failure_of(running)).reason == "ENGINE_LOST"
        for call in calls:
            while (await call.read()).progress.loading.step != "reading the script":
                pass
        second.allow(3)
        launcher.gate.set()
        assert [(await collect(call)).text for call in calls] == ["0 "] * 3


async def test_next_engine_follows_the_dead_one() -> None:
    """Who waits for the engine after a dead one gets the one that was loaded in its place."""
    first, second = ScriptedEngine(), ScriptedEngine()
    launcher = ScriptedLauncher(first, second)
    async with start_front(launcher.prepare) as client, asyncio.TaskGroup() as tasks:
        model = next(iter(client.app.models))
        waiting = tasks.create_task(model.next_engine(after=first))
        await asyncio.sleep(0)
        assert not waiting.done()
        first.die()
        async with asyncio.timeout(30):
            assert await waiting is second
        assert await model.next_engine(after=first) is second
