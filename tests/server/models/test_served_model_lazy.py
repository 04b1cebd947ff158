"""Models that are loaded by a request, over a real socket."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tokenwire.generated.tokenwire.v1 import models_pb2
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.models.model_state import State

from ..fronts import check, collect, failure_of, start_front, wait_for_state, wait_until
from ..scripted_engine import ScriptedEngine, ScriptedLauncher, ScriptedPreparation
from .on_demand import (
    MODEL,
    NOT_SERVING,
    OTHER,
    SERVING,
    brief,
    engine_with_tokens,
    first_model,
    lazy_front,
    waiting,
)


async def test_lazy_model_is_listed_and_not_loaded() -> None:
    """A lazy model is UNLOADED, its health NOT_SERVING, and no engine was started for it."""
    launcher = ScriptedLauncher(ScriptedEngine())
    async with lazy_front(launcher) as client:
        (model,) = (await client.list_models()).values()
        assert model.state == models_pb2.MODEL_STATE_UNLOADED
        assert model.revision == "revision-1"
        assert await check(client, MODEL) == NOT_SERVING
        assert await check(client, "readiness") == SERVING
    assert launcher.num_launches == 0


async def test_first_request_loads_the_model_and_is_answered() -> None:
    """The first request for a lazy model waits for its load, and then gets its answer."""
    launcher = ScriptedLauncher(engine_with_tokens())
    async with lazy_front(launcher) as client:
        answer = await collect(client.inference.Chat(brief(client)))
        assert await check(client, MODEL) == SERVING
    assert answer.text == "0 "


async def test_waiting_for_the_load_counts_as_queueing() -> None:
    """The time that a request waited for the load is told as its time in the queue."""
    launcher = ScriptedLauncher(engine_with_tokens())
    launcher.gate.clear()
    async with lazy_front(launcher) as client:
        (call,) = await waiting(client)
        launcher.gate.set()
        answer = await collect(call)
    assert answer.finished.timings.queue.ToTimedelta().total_seconds() > 0


async def test_requests_share_one_load() -> None:
    """Requests that come while the load runs wait for the same one."""
    launcher = ScriptedLauncher(engine_with_tokens())
    launcher.gate.clear()
    async with lazy_front(launcher) as client:
        calls = await waiting(client, 3)
        launcher.gate.set()
        answers = [await collect(call) for call in calls]
    assert [answer.text for answer in answers] == ["0 "] * 3
    assert launcher.num_launches == 1


async def test_progress_tells_of_the_load() -> None:
    """A waiting client that asked for progress hears what is being loaded, and how far it is."""
    launcher = ScriptedLauncher(engine_with_tokens())
    launcher.gate.clear()
    async with lazy_front(launcher) as client:
        call = client.inference.Chat(brief(client, progress=True))
        steps = []
        while "reading the script" not in [step.step for step in steps]:
            steps.append((await call.read()).progress.loading)
        assert steps[-1].fraction == 0.5
        launcher.gate.set()
        answer = await collect(call)
    assert answer.events[-1] == "finished"


async def test_wait_for_the_load_has_the_limit_of_the_queue() -> None:
    """After LLM_QUEUE_TIMEOUT_MS the request hears MODEL_LOADING; the load goes on."""
    launcher = ScriptedLauncher(engine_with_tokens())
    launcher.gate.clear()
    async with lazy_front(launcher, LLM_QUEUE_TIMEOUT_MS="50") as client:
        failure = await failure_of(client.inference.Chat(brief(client)))
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert failure.reason == "MODEL_LOADING"
        assert failure.retry_after_s == 5
        assert launcher.num_launches == 1
        launcher.gate.set()
        await wait_for_state(client.app, State.SERVING)


async def test_request_shortens_its_own_wait() -> None:
    """With max_queue_wait zero a request starts the load, and hears MODEL_LOADING at once."""
    launcher = ScriptedLauncher(engine_with_tokens())
    launcher.gate.clear()
    async with lazy_front(launcher) as client:
        request = brief(client, max_queue_wait=Duration())
        failure = await failure_of(client.inference.Chat(request))
        assert failure.reason == "MODEL_LOADING"
        launcher.gate.set()
        await wait_for_state(client.app, State.SERVING)


async def test_load_goes_on_without_the_client_that_asked_for_it() -> None:
    """A waiting client that leaves gives up its place, and the model is loaded all the same."""
    launcher = ScriptedLauncher(engine_with_tokens())
    launcher.gate.clear()
    async with lazy_front(launcher) as client:
        (call,) = await waiting(client)
        call.cancel()
        async with asyncio.timeout(30):
            await client.app._requests.wait_idle()
        launcher.gate.set()
        await wait_for_state(client.app, State.SERVING)


async def test_number_of_those_who_wait_is_bounded() -> None:
    """No more requests wait for a load than may run and queue; the next is refused at once."""
    launcher = ScriptedLauncher(engine_with_tokens())
    launcher.gate.clear()
    limits = {"LLM_MAX_CONCURRENT_REQUESTS": "1", "LLM_MAX_QUEUED_REQUESTS": "1"}
    async with lazy_front(launcher, **limits) as client:
        calls = await waiting(client, 2)
        failure = await failure_of(client.inference.Chat(brief(client)))
        assert failure.reason == "AT_CAPACITY"
        assert failure.metadata == {"limit": "2", "actual": "2"}
        for call in calls:
            call.cancel()


async def test_load_that_fails_is_told_to_those_who_wait() -> None:
    """When the load fails, whoever waits for it hears MODEL_LOAD_FAILED with the reason."""
    launcher = ScriptedLauncher(ModelLoadFailed("config.json is broken"))
    launcher.gate.clear()
    async with lazy_front(launcher) as client:
        (call,) = await waiting(client)
        launcher.gate.set()
        failure = await failure_of(call)
        assert failure.reason == "MODEL_LOAD_FAILED"
        assert "config.json is broken" in failure.message
        assert await check(client, "readiness") == NOT_SERVING


async def test_prompt_is_rendered_in_a_slot_where_no_engine_was_there() -> None:
    """A request that waited for the load renders in its slot; refused, it gives it back."""
    engine = engine_with_tokens(context_length=4, max_running=1)
    engine.renders.clear()
    async with lazy_front(ScriptedLauncher(engine)) as client:
        model = first_model(client)
        failing = asyncio.ensure_future(failure_of(client.inference.Chat(client.chat("a b c d"))))
        await engine.wait_until_rendering(1)
        assert model.admission.num_in_flight == 1
        engine.renders.set()
        assert (await failing).reason == "CONTEXT_TOO_LONG"
        assert model.admission.num_in_flight == 0
        assert (await collect(client.inference.Chat(brief(client)))).text == "0 "


async def test_drain_ends_a_wait_for_the_load() -> None:
    """A request that still waits for a load when the drain is over hears DRAINING."""
    launcher = ScriptedLauncher(engine_with_tokens())
    launcher.gate.clear()
    async with lazy_front(launcher, LLM_DRAIN_TIMEOUT_S="0.05") as client:
        (call,) = await waiting(client)
        await client.app.drain()
        failure = await failure_of(call)
    assert failure.reason == "DRAINING"


async def test_request_during_preparation_waits_for_the_whole_load() -> None:
    """A request for a lazy model whose files still come is kept, too."""
    preparation = ScriptedPreparation({MODEL: ScriptedLauncher(engine_with_tokens())})
    preparation.gates[MODEL].clear()
    async with start_front(preparation.prepare, wait=False, LLM_LAZY_LOAD="true") as client:
        (call,) = await waiting(client)
        preparation.gates[MODEL].set()
        assert (await collect(call)).text == "0 "


async def test_only_the_named_models_are_lazy() -> None:
    """LLM_LAZY_LOAD with ids makes those lazy; others load at the start and refuse meanwhile."""
    launchers = {name: ScriptedLauncher(engine_with_tokens()) for name in (MODEL, OTHER)}
    launchers[MODEL].gate.clear()
    async with start_front(
        ScriptedPreparation(launchers).prepare,
        wait=False,
        LLM_ALLOWED_MODELS=f"{MODEL},{OTHER}",
        LLM_LAZY_LOAD=OTHER,
    ) as client:
        await wait_for_state(client.app, State.UNLOADED, model=OTHER)
        failure = await failure_of(client.inference.Chat(brief(client)))
        assert failure.reason == "MODEL_LOADING"
        launchers[MODEL].gate.set()
        await wait_for_state(client.app, State.SERVING)
        assert launchers[OTHER].num_launches == 0
        assert (await collect(client.inference.Chat(brief(client.on(OTHER))))).text == "0 "


async def test_load_on_demand_keeps_the_server_ready() -> None:
    """While a request loads the only model, readiness holds: requests wait, none is refused."""
    launcher = ScriptedLauncher(engine_with_tokens())
    launcher.gate.clear()
    async with lazy_front(launcher) as client:
        (call,) = await waiting(client)
        assert await check(client, "readiness") == SERVING
        assert await check(client, MODEL) == NOT_SERVING
        launcher.gate.set()
        await collect(call)


@pytest.mark.parametrize("is_lazy", [True, False])
async def test_crash_is_no_unload(is_lazy: bool) -> None:
    """An engine that dies is replaced without a request, lazy or not, and refuses meanwhile."""
    first, second = engine_with_tokens(), engine_with_tokens()
    launcher = ScriptedLauncher(first, second)
    async with start_front(
        launcher.prepare, wait=False, LLM_LAZY_LOAD=str(is_lazy).lower()
    ) as client:
        if is_lazy:
            await wait_for_state(client.app, State.UNLOADED)
            await collect(client.inference.Chat(brief(client)))
        await wait_for_state(client.app, State.SERVING)
        launcher.gate.clear()
        first.die()
        await wait_until(client.app.models, lambda: launcher.num_launches == 2)
        failure = await failure_of(client.inference.Chat(brief(client)))
        assert failure.reason == "MODEL_LOADING"
        assert await check(client, "readiness") == NOT_SERVING
        launcher.gate.set()
        await wait_for_state(client.app, State.SERVING)
