"""What the front tells about several models: lists, health names and metrics."""

from __future__ import annotations

import asyncio
import urllib.request

import pytest
from grpc_health.v1 import health_pb2
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.models.model_state import State

from ..fronts import Client, check, collect, failure_of, start_front, wait_for_state
from ..scripted_engine import ScriptedEngine, ScriptedLauncher, ScriptedPreparation

A, B = "test/a", "test/b"
BOTH = {"LLM_ALLOWED_MODELS": f"{A},{B}"}
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def scrape(client: Client) -> list[str]:
    def get() -> str:
        url = f"http://127.0.0.1:{client.app.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as response:
            return str(response.read().decode())

    return (await asyncio.to_thread(get)).splitlines()


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


async def test_each_model_has_a_health_name() -> None:
    """The health of one model is not that of another, and readiness holds while one serves."""
    outcomes = {A: ModelLoadFailed("broken"), B: ScriptedLauncher(ScriptedEngine())}
    async with start_front(ScriptedPreparation(outcomes).prepare, wait=False, **BOTH) as client:
        await wait_for_state(client.app, State.SERVING, model=B)
        assert await check(client, A) == NOT_SERVING
        assert await check(client, B) == SERVING
        assert await check(client, "") == SERVING


@pytest.mark.parametrize(
    ("has_scales", "told", "gauge"),
    [(False, False, "1.0"), (True, True, "0.0"), (None, None, "0.0")],
)
async def test_fp8_cache_without_scales_is_told(
    has_scales: bool | None, told: bool | None, gauge: str
) -> None:
    """An FP8 KV cache without scales of its own shows in ListModels and as a metric."""
    launcher = ScriptedLauncher(ScriptedEngine(has_kv_cache_scales=has_scales))
    async with start_front(launcher.prepare, LLM_ALLOWED_MODELS=A) as client:
        model = (await client.list_models())[A]
        lines = await scrape(client)
    assert model.HasField("has_kv_cache_scales") == (told is not None)
    assert model.has_kv_cache_scales == bool(told)
    assert f'llm_kv_cache_without_scales{{model="{A}"}} {gauge}' in lines


async def test_states_are_metrics() -> None:
    """For each model one of the states is 1: a model that rests is not one that broke."""
    outcomes = {A: ModelLoadFailed("broken"), B: ScriptedLauncher(ScriptedEngine())}
    async with start_front(
        ScriptedPreparation(outcomes).prepare, wait=False, LLM_LAZY_LOAD=B, **BOTH
    ) as client:
        await wait_for_state(client.app, State.UNLOADED, model=B)
        lines = await scrape(client)
    assert f'llm_model_state{{model="{A}",state="failed"}} 1.0' in lines
    assert f'llm_model_state{{model="{A}",state="unloaded"}} 0.0' in lines
    assert f'llm_model_state{{model="{B}",state="unloaded"}} 1.0' in lines


async def test_adapters_are_counted_under_their_names() -> None:
    """Counters of an adapter exist from the start, under the name that requests give."""
    launcher = ScriptedLauncher(ScriptedEngine(lora_adapters=("poet",)), adapters=("poet",))
    async with start_front(
        launcher.prepare, LLM_ALLOWED_MODELS=A, LLM_LORA_ADAPTERS="poet=loras/poet"
    ) as client:
        lines = await scrape(client)
    assert 'llm_requests_aborted_total{model="poet"} 0.0' in lines
