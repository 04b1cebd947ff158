"""When the service says that it is ready."""

from __future__ import annotations

import asyncio

import aiohttp
from tokenwire.edge.app import EdgeApp
from tokenwire.server.app import ServerApp
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.models.model_state import State

from ..edge.conftest import edge_config
from ..server.fronts import make_config, wait_for_state
from ..server.scripted_engine import ScriptedEngine, ScriptedLauncher, ScriptedPreparation

READY = (200, {"status": "ok", "llm_models_loaded": True})
NOT_READY = (503, {"status": "not_ready", "llm_models_loaded": False})
LIVE = (200, {"status": "ok"})
GUARD_S = 45.0


async def health(http: aiohttp.ClientSession, name: str) -> tuple[int, object]:
    """Returns status and body of a probe."""
    async with http.get(f"/health/{name}") as response:
        return response.status, await response.json()


async def test_several_models() -> None:
    """The first of two models fails for good, and the second one serves in the end.

    > Not ready until the models are loaded: with several, until each serves or has finally failed.

    > Ready as long as at least one model serves.

    > Not ready while draining.
    """
    engine = ScriptedEngine()
    good = ScriptedLauncher(engine)
    models = ScriptedPreparation({"a/bad": ModelLoadFailed("broken"), "a/good": good})
    models.gates["a/good"].clear()
    config = make_config(LLM_ALLOWED_MODELS="a/bad,a/good")
    async with asyncio.timeout(GUARD_S), ServerApp(config, models.prepare) as front:
        edge = EdgeApp(edge_config(LLM_GRPC_TARGET=f"127.0.0.1:{front.port}"))
        async with asyncio.TaskGroup() as tasks:
            await edge.__aenter__()
            async with aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http:
                await wait_for_state(front, State.FAILED, model="a/bad")
                assert await health(http, "ready") == NOT_READY
                assert await health(http, "live") == LIVE
                models.gates["a/good"].set()
                await wait_for_state(front, State.SERVING, model="a/good")
                assert await health(http, "ready") == READY
                body = {"model": "a/good", "prompt": "Hi", "max_tokens": 1}
                answer = tasks.create_task(http.post("/api/generate", json=body).__aenter__())
                await engine.wait_until(running=1)
                ending = tasks.create_task(edge.__aexit__(None, None, None))
                await asyncio.sleep(0)  # the drain has begun, and waits for the answer
                assert await health(http, "ready") == NOT_READY
                assert await health(http, "live") == LIVE
                assert not ending.done()
                engine.allow(10)
                async with await answer as response:
                    assert response.status == 200


async def test_no_model_serves() -> None:
    """Where the only model has failed the process lives, and is not ready."""
    launcher = ScriptedLauncher(ModelLoadFailed("broken"))
    async with ServerApp(make_config(), launcher.prepare) as front:
        await wait_for_state(front, State.FAILED)
        async with (
            EdgeApp(edge_config(LLM_GRPC_TARGET=f"127.0.0.1:{front.port}")) as edge,
            aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
        ):
            assert await health(http, "ready") == NOT_READY
            assert await health(http, "live") == LIVE
