"""Fronts whose model is loaded by a request, and requests that wait for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from grpc_health.v1 import health_pb2
from tokenwire.server.models.model_state import State
from tokenwire.server.models.served_model import ServedModel

from ..fronts import Client, start_front, wait_for_state
from ..scripted_engine import ScriptedEngine, ScriptedLauncher

MODEL, OTHER = "test/scripted", "test/other"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


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
    assert first_model(client).admission.num_queued == number
    return calls
