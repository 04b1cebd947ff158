"""Several models: prepared together, loaded in turn, apart from each other's failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.contract.load_progress import LoadProgress
from tokenwire.server.models.model_state import State
from tokenwire.server.models.models import Models

from ..fronts import collect, failure_of, scrape, start_front, view_of, wait_for_state, wait_until
from ..scripted_engine import ScriptedEngine, ScriptedLauncher, ScriptedPreparation

A, B, C = "test/a", "test/b", "test/c"
BOTH = {"LLM_ALLOWED_MODELS": f"{A},{B}"}
Outcomes = Mapping[str, ScriptedLauncher | ModelLoadFailed]


@asynccontextmanager
async def running(
    preparation: ScriptedPreparation, model_ids: tuple[str, ...], **options: Any
) -> AsyncGenerator[Models]:
    """Models that run until the body ends."""
    models = Models(
        model_ids, preparation.prepare, **({"max_in_flight": 2, "max_queued": 2} | options)
    )
    task = asyncio.create_task(models.run())
    try:
        yield models
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def states(models: Models) -> list[State]:
    return [view.state for view in models.views]


def launchers(*model_ids: str) -> dict[str, ScriptedLauncher]:
    return {model_id: ScriptedLauncher(ScriptedEngine()) for model_id in model_ids}


async def test_nothing_is_loaded_before_all_are_prepared() -> None:
    """All models are prepared at once, lazy ones too, and none is launched before the last."""
    given = launchers(A, B, C)
    preparation = ScriptedPreparation(given)
    preparation.gates[C].clear()
    async with running(preparation, (A, B, C), lazy={C}) as models:
        await wait_until(models, lambda: preparation.asked == [A, B, C])
        await wait_until(
            models,
            lambda: view_of(models, B).progress == LoadProgress("waiting for its turn to load"),
        )
        assert [launcher.num_launches for launcher in given.values()] == [0, 0, 0]
        assert view_of(models, C).progress == LoadProgress("fetching the script")
        preparation.gates[C].set()
        await wait_until(
            models, lambda: states(models) == [State.SERVING, State.SERVING, State.UNLOADED]
        )
    assert given[C].num_launches == 0


async def test_first_loads_go_one_after_another_in_order() -> None:
    """The next model is launched when the one before it in the list serves, not earlier."""
    given = launchers(C, A, B)
    for launcher in given.values():
        launcher.gate.clear()
    async with running(ScriptedPreparation(given), (C, A, B)) as models:
        for number, launcher in enumerate(given.values(), start=1):
            await wait_until(models, lambda launcher=launcher: launcher.num_launches == 1)
            assert sum(each.num_launches for each in given.values()) == number
            launcher.gate.set()
        await wait_until(models, lambda: states(models) == [State.SERVING] * 3)


async def test_restart_does_not_wait_for_first_loads() -> None:
    """A model whose engine died is launched again while another still makes its first load."""
    first, second = ScriptedEngine(), ScriptedEngine()
    given = {A: ScriptedLauncher(first, second), B: ScriptedLauncher()}
    async with running(ScriptedPreparation(given), (A, B)) as models:
        await wait_until(models, lambda: given[B].num_launches == 1)
        first.die()
        await wait_until(models, lambda: models.route(A).model.keeper.num_restarts == 1)
        await wait_until(models, lambda: states(models) == [State.SERVING, State.LOADING])
        assert models.route(A).model.engine is second


@pytest.mark.parametrize(
    "bad",
    [
        ModelLoadFailed("no such repository"),
        ScriptedLauncher(ModelLoadFailed("config.json is broken")),
    ],
    ids=["while it is prepared", "while it loads"],
)
async def test_failure_of_one_leaves_the_others_alone(
    bad: ScriptedLauncher | ModelLoadFailed,
) -> None:
    """A model that fails is FAILED with its reason, and those behind it in the list serve."""
    outcomes: Outcomes = {A: bad, B: ScriptedLauncher(ScriptedEngine())}
    async with running(ScriptedPreparation(outcomes), (A, B)) as models:
        await wait_until(models, lambda: states(models) == [State.FAILED, State.SERVING])
        assert view_of(models, A).failure in ("no such repository", "config.json is broken")
        assert models.is_ready


async def test_unforeseen_failure_of_one_leaves_the_others_alone() -> None:
    """Also a bug while one model is prepared stays with that model, and tells nothing of itself."""
    given = launchers(A, B)

    async def prepare(model_id: str, report: Any) -> Any:
        if model_id == A:
            raise ValueError("canary-text")
        return await given[model_id].prepare(model_id, report)

    preparation = ScriptedPreparation(given)
    preparation.prepare = prepare  # type: ignore[method-assign]
    async with running(preparation, (A, B)) as models:
        await wait_until(models, lambda: states(models) == [State.FAILED, State.SERVING])
        assert "canary" not in view_of(models, A).failure
        assert "log" in view_of(models, A).failure


async def test_death_of_one_engine_leaves_the_others_alone() -> None:
    """When an engine dies its model loads again; the others serve on the engines that they had."""
    engine_a, engine_b = ScriptedEngine(), ScriptedEngine()
    outcomes = {A: ScriptedLauncher(engine_a), B: ScriptedLauncher(engine_b)}
    async with running(ScriptedPreparation(outcomes), (A, B)) as models:
        await wait_until(models, lambda: states(models) == [State.SERVING] * 2)
        engine_a.die()
        await wait_until(models, lambda: states(models) == [State.LOADING, State.SERVING])
        assert models.route(B).model.engine is engine_b
        assert models.is_ready


class Stand:
    """Models whose launches end as a test says, one after another."""

    def __init__(self, models: Models, given: Mapping[str, ScriptedLauncher]) -> None:
        self.models = models
        self.given = given

    async def let(self, model_id: str) -> None:
        """Lets a model's launch end, and waits until it has."""
        self.given[model_id].gate.set()
        await wait_until(
            self.models,
            lambda: view_of(self.models, model_id).state in (State.SERVING, State.FAILED),
        )


@asynccontextmanager
async def stand(outcomes: dict[str, Any], **options: Any) -> AsyncGenerator[Stand]:
    given = {model_id: ScriptedLauncher(*each) for model_id, each in outcomes.items()}
    for launcher in given.values():
        launcher.gate.clear()
    async with running(ScriptedPreparation(given), tuple(given), **options) as models:
        yield Stand(models, given)


BROKEN = ModelLoadFailed("broken")


async def test_readiness_waits_for_every_model_that_is_not_lazy() -> None:
    """Not ready while a model makes its first load, although another serves."""
    async with stand({A: [ScriptedEngine()], B: [ScriptedEngine()]}) as it:
        assert not it.models.is_ready
        await it.let(A)
        assert not it.models.is_ready
        await it.let(B)
        assert it.models.is_ready


async def test_readiness_takes_a_failure_for_an_end() -> None:
    """A model that failed does not keep the others from being ready, and all failed is not."""
    async with stand({A: [BROKEN], B: [ScriptedEngine()]}) as it:
        await it.let(A)
        assert not it.models.is_ready
        await it.let(B)
        assert it.models.is_ready
    async with stand({A: [BROKEN], B: [BROKEN]}) as it:
        await it.let(A)
        await it.let(B)
        assert not it.models.is_ready


async def test_readiness_holds_while_one_serves() -> None:
    """Once ready, a restart of one model changes nothing as long as another serves."""
    engine_a, engine_b = ScriptedEngine(), ScriptedEngine()
    async with stand({A: [engine_a], B: [engine_b]}) as it:
        await it.let(A)
        await it.let(B)
        engine_a.die()
        await wait_until(it.models, lambda: states(it.models) == [State.LOADING, State.SERVING])
        assert it.models.is_ready
        engine_b.die()
        await wait_until(it.models, lambda: states(it.models) == [State.LOADING, State.LOADING])
        assert not it.models.is_ready


async def test_readiness_of_one_model_follows_it() -> None:
    """With one model that is loaded at the start, ready is the same as serving."""
    first, second = ScriptedEngine(), ScriptedEngine()
    async with stand({A: [first, second]}) as it:
        assert not it.models.is_ready
        await it.let(A)
        assert it.models.is_ready
        it.given[A].gate.clear()
        first.die()
        await wait_until(it.models, lambda: states(it.models) == [State.LOADING])
        assert not it.models.is_ready
        await it.let(A)
        assert it.models.is_ready


async def test_readiness_does_not_wait_for_lazy_models() -> None:
    """A lazy model neither delays readiness nor gives it before the others have loaded."""
    async with stand({A: [ScriptedEngine()], B: [ScriptedEngine()]}, lazy={B}) as it:
        await wait_until(it.models, lambda: states(it.models) == [State.LOADING, State.UNLOADED])
        assert not it.models.is_ready
        await it.let(A)
        assert it.models.is_ready


async def test_server_of_lazy_models_is_ready_once_they_are_prepared() -> None:
    """Lazy models alone make a server ready: a request loads them, and nothing else would."""
    preparation = ScriptedPreparation(launchers(A))
    preparation.gates[A].clear()
    async with running(preparation, (A,), lazy={A}) as models:
        await wait_until(models, lambda: preparation.asked == [A])
        assert not models.is_ready
        preparation.gates[A].set()
        await wait_until(models, lambda: states(models) == [State.UNLOADED])
        assert models.is_ready


async def test_requests_go_to_the_model_that_they_name() -> None:
    """Each request reaches the engine of its own model, and is counted for that model."""
    engines = {A: ScriptedEngine(), B: ScriptedEngine()}
    launchers = {name: ScriptedLauncher(engine) for name, engine in engines.items()}
    async with start_front(ScriptedPreparation(launchers).prepare, **BOTH) as client:
        await wait_for_state(client.app, State.SERVING, model=B)
        request = client.on(B).chat("go")
        request.sampling.max_tokens = 1
        engines[B].allow(1)
        answer = await collect(client.inference.Chat(request))
        lines = await scrape(client)
    assert answer.started.model == B
    assert [len(engine.requests) for engine in engines.values()] == [0, 1]
    finished = 'llm_requests_finished_total{finish_reason="length",model='
    assert f'{finished}"{B}"}} 1.0' in lines
    assert f'{finished}"{A}"}} 0.0' in lines


async def test_each_model_has_slots_of_its_own() -> None:
    """A model whose slots are all taken leaves the slots of another free."""
    engines = {A: ScriptedEngine(max_running=1), B: ScriptedEngine(max_running=1)}
    launchers = {name: ScriptedLauncher(engine) for name, engine in engines.items()}
    values = BOTH | {"LLM_MAX_QUEUED_REQUESTS": "0"}
    async with start_front(ScriptedPreparation(launchers).prepare, **values) as client:
        await wait_for_state(client.app, State.SERVING, model=B)
        running = client.inference.Chat(client.on(A).chat("go"))
        await engines[A].wait_until(running=1)
        failure = await failure_of(client.inference.Chat(client.on(A).chat("go")))
        assert failure.reason == "AT_CAPACITY"
        request = client.on(B).chat("go")
        request.sampling.max_tokens = 1
        engines[B].allow(1)
        assert (await collect(client.inference.Chat(request))).text == "0 "
        running.cancel()
