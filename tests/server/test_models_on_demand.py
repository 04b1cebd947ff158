"""Models that are loaded by a request and unloaded when nobody asks, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2
from tokenwire.generated.tokenwire.v1 import models_pb2
from tokenwire.server.errors import ModelLoadFailed
from tokenwire.server.models import ServedModel, State

from .fronts import Client, check, collect, failure_of, start_front, wait_for_state, wait_until
from .scripted_engine import ScriptedEngine, ScriptedLauncher, ScriptedPreparation

MODEL, OTHER = "test/scripted", "test/other"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
# Long enough for the steps of a test, and short enough to wait for.
IDLE_S = "0.05"


def engine_with_tokens(**options: Any) -> ScriptedEngine:
    """An engine that never waits for its test."""
    engine = ScriptedEngine(**options)
    engine.allow(100)
    return engine


def brief(client: Client, **fields: Any) -> Any:
    """A request for one token."""
    request = client.chat("go", **fields)
    request.sampling.max_tokens = 1
    return request


@asynccontextmanager
async def lazy_front(launcher: ScriptedLauncher, **values: str) -> AsyncGenerator[Client]:
    """A front whose only model is lazy, prepared and not loaded."""
    async with start_front(
        launcher.prepare, wait=False, **({"LLM_LAZY_LOAD": "true"} | values)
    ) as client:
        await wait_for_state(client.app, State.UNLOADED)
        yield client


def first_model(client: Client) -> ServedModel:
    return next(iter(client.app.models))


async def waiting(client: Client, number: int = 1) -> list[Any]:
    """Calls that wait for the load, as many as asked for."""
    calls = [client.inference.Chat(brief(client, progress=True)) for _ in range(number)]
    for call in calls:
        assert (await call.read()).progress.HasField("loading")
    assert first_model(client).num_waiting == number
    return calls


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
            await client.app._service.wait_idle()
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
        assert model.num_restarts == 0


async def test_model_in_use_is_not_unloaded() -> None:
    """A request that runs longer than LLM_IDLE_UNLOAD_S keeps its model; then it is unloaded."""
    engine = ScriptedEngine()
    engine.allow(1)
    async with start_front(ScriptedLauncher(engine).prepare, LLM_IDLE_UNLOAD_S=IDLE_S) as client:
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
