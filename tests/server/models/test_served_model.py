"""One model's engine: when it dies, and when it cannot be loaded."""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import health_pb2
from tokenwire.generated.tokenwire.v1 import inference_pb2, models_pb2
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.models.model_state import State

from ..fronts import check, collect, failure_of, start_front, wait_for_state
from ..scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_death_of_the_engine_ends_streams_and_restarts() -> None:
    """Streams end with ENGINE_LOST, health tells it, and the next engine serves."""
    first, second = ScriptedEngine(), ScriptedEngine()
    launcher = ScriptedLauncher(first, second)
    async with start_front(launcher.prepare, LLM_CRASH_CONTINUATION="false") as client:
        watch = client.health.Watch(health_pb2.HealthCheckRequest(service="readiness"))
        assert (await watch.read()).status == SERVING
        call = client.inference.Chat(client.chat("go"))
        await first.wait_until(running=1)
        launcher.gate.clear()
        first.die()
        failure = await failure_of(call)
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert failure.reason == "ENGINE_LOST"
        assert failure.retry_after_s == 5
        assert (await watch.read()).status == NOT_SERVING
        refused = await failure_of(client.inference.Chat(client.chat("go")))
        assert refused.reason == "MODEL_LOADING"
        assert await check(client, "liveness") == SERVING
        launcher.gate.set()
        assert (await watch.read()).status == SERVING
        second.allow(1)
        request = client.chat("go")
        request.sampling.max_tokens = 1
        assert (await collect(client.inference.Chat(request))).text == "0 "
        assert first.is_closed
        watch.cancel()


async def test_engine_that_dies_while_it_is_restarted_is_tried_again() -> None:
    """A restart that fails is one more death: the model is loaded again, and serves."""
    first, second = ScriptedEngine(), ScriptedEngine()
    launcher = ScriptedLauncher(first, ModelLoadFailed("killed while it loaded"), second)
    async with start_front(launcher.prepare) as client:
        reached = asyncio.Event()
        client.app.models.observe(lambda: reached.set() if launcher.num_launches == 3 else None)
        first.die()
        async with asyncio.timeout(30):
            await reached.wait()
        await wait_for_state(client.app, State.SERVING)
        assert next(iter(client.app.models)).keeper.num_restarts == 2


async def test_loading_model_is_told_with_progress() -> None:
    """While a model loads, calls are refused with MODEL_LOADING and ListModels tells how far."""
    launcher = ScriptedLauncher(ScriptedEngine())
    launcher.gate.clear()
    async with start_front(launcher.prepare, wait=False) as client:
        reached = asyncio.Event()
        client.app.models.observe(lambda: reached.set() if launcher.num_launches else None)
        await reached.wait()
        models = (await client.inference.ListModels(inference_pb2.ListModelsRequest())).models
        assert models[0].state == models_pb2.MODEL_STATE_LOADING
        assert models[0].progress == "reading the script"
        assert models[0].progress_fraction == 0.5
        failure = await failure_of(client.inference.Chat(client.chat("go")))
        assert failure.reason == "MODEL_LOADING"
        # Reads well alone, and behind the prefix of `/api`, "Failed to load model: ".
        assert failure.message.startswith(f"'{MODEL_ID}' is not loaded yet: reading the script")
        assert await check(client, "readiness") == NOT_SERVING
        assert await check(client, MODEL_ID) == NOT_SERVING
        assert await check(client, "liveness") == SERVING
        launcher.gate.set()
        await wait_for_state(client.app, State.SERVING)
        assert await check(client, MODEL_ID) == SERVING


async def test_model_that_fails_to_load_is_told_with_the_reason() -> None:
    """A model that cannot be loaded leaves the front up and tells why, everywhere."""
    launcher = ScriptedLauncher(ModelLoadFailed("no config.json in its folder"))
    async with start_front(launcher.prepare, wait=False) as client:
        await wait_for_state(client.app, State.FAILED)
        failure = await failure_of(client.inference.Chat(client.chat("go")))
        models = (await client.inference.ListModels(inference_pb2.ListModelsRequest())).models
        assert await check(client, "readiness") == NOT_SERVING
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert failure.reason == "MODEL_LOAD_FAILED"
    assert failure.message == f"'{MODEL_ID}' cannot be served: no config.json in its folder"
    assert models[0].state == models_pb2.MODEL_STATE_FAILED
    assert models[0].failure == "no config.json in its folder"
