"""What an engine says when it fails is for the log: no face of the service shows it to a caller."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from grpc_health.v1 import health_pb2
from structlog.testing import capture_logs
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.config import EdgeConfig
from tokenwire.server.contract.errors import GenerationFailed, ModelLoadFailed
from tokenwire.server.models import engine_keeper
from tokenwire.server.models.model_state import State

from .server.fronts import Client, failure_of, scrape, start_front, wait_for_state
from .server.scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher

CANARY = "/secret/canary-folder/model.bin: canary words of an engine"


async def see(client: Client) -> str:
    """All that a caller can see of a front, on gRPC and on HTTP."""
    seen: list[Any] = [
        await failure_of(client.inference.Chat(client.chat("go"))),
        await failure_of(client.inference.Generate(client.prompt("go"))),
        await client.list_models(),
        await client.health.List(health_pb2.HealthListRequest()),
        await scrape(client),
    ]
    config = EdgeConfig.model_validate(
        {
            "LLM_INFERENCE_HOSTNAME": "127.0.0.1",
            "LLM_INFERENCE_PORT": "0",
            "LLM_GRPC_TARGET": f"127.0.0.1:{client.app.port}",
            "LLM_METRICS_TARGET": f"http://127.0.0.1:{client.app.metrics_port}/metrics",
        }
    )
    api: dict[str, Any] = {"messages": [{"role": "user", "content": "go"}]}
    canonical = {"messages": [{"role": "ROLE_USER", "content": [{"text": "go"}]}]}
    async with (
        EdgeApp(config) as edge,
        aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
    ):
        for path, body in (
            ("/api/chat", api),
            ("/api/chat/stream", api),
            ("/tokenwire/v1/chat", canonical),
        ):
            async with http.post(path, json={"model": MODEL_ID, **body}) as answer:
                seen += [answer.status, answer.headers, await answer.text()]
        for path in ("/api/models", "/tokenwire/v1/models", "/health/ready", "/metrics"):
            async with http.get(path) as answer:
                seen += [answer.status, answer.headers, await answer.text()]
    return repr(seen)


async def test_load_that_fails() -> None:
    """Why a model cannot be loaded is shown in general words, and logged in full."""
    launcher = ScriptedLauncher(ModelLoadFailed("its files are not whole", detail=CANARY))
    with capture_logs() as lines:
        async with start_front(launcher.prepare, wait=False) as client:
            await wait_for_state(client.app, State.FAILED)
            seen = await see(client)
    assert "its files are not whole" in seen
    assert "canary" not in seen
    (logged,) = [line for line in lines if line["event"] == "model_failed"]
    assert logged["detail"] == CANARY


async def test_generation_that_fails() -> None:
    """Why an engine failed a request is shown in general words, and logged in full."""
    engine = ScriptedEngine()
    engine.failure = GenerationFailed("the engine refused the request", detail=CANARY)
    engine.allow(100)
    with capture_logs() as lines:
        async with start_front(ScriptedLauncher(engine).prepare) as client:
            seen = await see(client)
    assert "the engine refused the request" in seen
    assert "canary" not in seen
    details = [line["detail"] for line in lines if line["event"] == "request"]
    assert details == [CANARY] * 5


async def test_engine_that_dies() -> None:
    """What a dying engine said is logged, while its model is restarted and others see it load."""
    engine = ScriptedEngine()
    launcher = ScriptedLauncher(engine)
    with capture_logs() as lines:
        async with start_front(launcher.prepare, LLM_CRASH_CONTINUATION="false") as client:
            call = client.inference.Chat(client.chat("go"))
            await engine.wait_until(running=1)
            engine.die(CANARY)
            lost = await failure_of(call)
            await wait_for_state(client.app, State.LOADING)
            seen = repr(lost) + await see(client)
    assert "ENGINE_LOST" in seen
    assert "MODEL_LOADING" in seen
    assert "canary" not in seen
    (logged,) = [line for line in lines if line["event"] == "engine_lost"]
    assert logged["reason"] == CANARY


async def test_restarts_that_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After too many deaths the model is failed in general words; the last reason is logged."""
    monkeypatch.setattr(engine_keeper, "_RESTART_DELAYS_S", (0.0,) * 8)  # they add up to minutes
    first = ScriptedEngine()
    again = [ModelLoadFailed("it cannot be loaded again", detail=CANARY) for _ in range(9)]
    launcher = ScriptedLauncher(first, *again)
    with capture_logs() as lines:
        async with start_front(launcher.prepare) as client:
            first.die(CANARY)
            await wait_for_state(client.app, State.FAILED)
            seen = await see(client)
    assert "died 9 times in a row" in seen
    assert "canary" not in seen
    (logged,) = [line for line in lines if line["event"] == "model_failed"]
    assert CANARY in logged["detail"]
