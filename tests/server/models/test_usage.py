"""Models that are unloaded while nobody asks for them, over a real socket."""

from __future__ import annotations

import asyncio

from google.protobuf.duration_pb2 import Duration
from tokenwire.generated.tokenwire.v1 import models_pb2
from tokenwire.server.models.model_state import State

from ..fronts import check, collect, start_front, wait_for_state, wait_until
from ..scripted_engine import ScriptedEngine, ScriptedLauncher
from .on_demand import (
    MODEL,
    NOT_SERVING,
    SERVING,
    brief,
    engine_with_tokens,
    first_model,
    lazy_front,
    waiting,
)

# Long enough for the steps of a test, and short enough to wait for.
IDLE_S = "0.05"


async def test_idle_model_is_unloaded_and_loaded_again() -> None:
    """Without a request for LLM_IDLE_UNLOAD_S the engine is closed; the next request loads it."""
    first, second = engine_with_tokens(), engine_with_tokens()
    launcher = ScriptedLauncher(first, second)
    async with start_front(launcher.prepare, LLM_IDLE_UNLOAD_S=IDLE_S) as client:
        model = first_model(client)
        await wait_until(
            client.app.models,
            lambda: model.view.state is State.UNLOADED and model.view.progress is None,
        )
        assert first.is_closed
        assert (await client.list_models())[MODEL].state == models_pb2.MODEL_STATE_UNLOADED
        assert await check(client, MODEL) == NOT_SERVING
        assert await check(client, "readiness") == SERVING
        assert (await collect(client.inference.Chat(brief(client)))).text == "0 "
        assert second.requests
        assert model.keeper.num_restarts == 0


async def test_model_in_use_is_not_unloaded() -> None:
    """A request that runs longer than LLM_IDLE_UNLOAD_S keeps its model; then it is unloaded."""
    engine = ScriptedEngine()
    engine.allow(1)
    # Lazy, so that it is in use from its load on, and not idle until the request comes.
    async with lazy_front(ScriptedLauncher(engine), LLM_IDLE_UNLOAD_S=IDLE_S) as client:
        request = client.chat("go", time_limit=Duration(nanos=200_000_000))
        answer = await collect(client.inference.Chat(request))
        assert answer.text == "0 "
        await wait_for_state(client.app, State.UNLOADED)
    assert engine.num_aborted == 1


async def test_queued_request_keeps_the_model() -> None:
    """A request that waits for a slot is a use of the model, too."""
    engine = ScriptedEngine(max_running=1)
    async with start_front(ScriptedLauncher(engine).prepare, LLM_IDLE_UNLOAD_S="0.2") as client:
        running = client.inference.Chat(client.chat("go"))
        await engine.wait_until(running=1)
        queued = client.inference.Chat(brief(client, progress=True))
        assert (await queued.read()).progress.queued.place == 1
        running.cancel()
        await engine.wait_until(running=1, aborted=1)
        engine.allow(1)
        assert (await collect(queued)).text == "0 "


async def test_request_at_the_moment_of_unloading_is_answered() -> None:
    """Requests that meet the end of an idle engine wait for the next one; none is lost."""
    engines = [engine_with_tokens() for _ in range(60)]
    async with start_front(ScriptedLauncher(*engines).prepare, LLM_IDLE_UNLOAD_S="0.001") as client:
        # The idle time is about as long as a call takes: the two meet at every point.
        for _ in range(40):
            assert (await collect(client.inference.Chat(brief(client)))).text == "0 "
    assert sum(engine.is_closed for engine in engines) > 1


async def test_request_while_the_engine_is_being_closed_waits_for_the_next() -> None:
    """An engine that takes long to end is ended before the next is launched: memory is for one."""
    first, second = engine_with_tokens(), engine_with_tokens()
    may_end = asyncio.Event()
    close = first.close

    async def close_slowly() -> None:
        await may_end.wait()
        await close()

    first.close = close_slowly  # type: ignore[method-assign]
    launcher = ScriptedLauncher(first, second)
    async with start_front(launcher.prepare, LLM_IDLE_UNLOAD_S=IDLE_S) as client:
        await wait_for_state(client.app, State.UNLOADED)
        (call,) = await waiting(client)
        assert launcher.num_launches == 1
        may_end.set()
        assert (await collect(call)).text == "0 "
    assert second.requests
