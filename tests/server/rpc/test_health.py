"""The health service over a real socket."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.models.model_state import State

from ..fronts import (
    check,
    failure_of,
    start_front,
    wait_for_state,
)
from ..scripted_engine import ScriptedEngine, ScriptedLauncher, ScriptedPreparation

A, B = "test/a", "test/b"
BOTH = {"LLM_ALLOWED_MODELS": f"{A},{B}"}
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_unknown_health_name() -> None:
    """Check of an unknown name is NOT_FOUND; Watch says SERVICE_UNKNOWN and stays open."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        request = health_pb2.HealthCheckRequest(service="nope")
        failure = await failure_of(client.health.Check(request))
        assert failure.code is grpc.StatusCode.NOT_FOUND
        watch = client.health.Watch(request)
        first = await watch.read()
        assert first.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        assert not watch.done()
        watch.cancel()


async def test_each_model_has_a_health_name() -> None:
    """The health of one model is not that of another, and readiness holds while one serves."""
    outcomes = {A: ModelLoadFailed("broken"), B: ScriptedLauncher(ScriptedEngine())}
    async with start_front(ScriptedPreparation(outcomes).prepare, wait=False, **BOTH) as client:
        await wait_for_state(client.app, State.SERVING, model=B)
        assert await check(client, A) == NOT_SERVING
        assert await check(client, B) == SERVING
        assert await check(client, "") == SERVING


async def test_list_has_every_name() -> None:
    """List tells the process, the service and the model, each with its status."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        listed = await client.health.List(health_pb2.HealthListRequest())
    statuses = {name: each.status for name, each in listed.statuses.items()}
    names = ("liveness", "readiness", "", "tokenwire.v1.InferenceService", client.model)
    assert statuses == dict.fromkeys(names, SERVING)


async def test_number_of_watches_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One watch too many is refused with the limit."""
    monkeypatch.setattr("tokenwire.server.rpc.health.MAX_HEALTH_WATCHES", 1)
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        request = health_pb2.HealthCheckRequest(service="")
        first = client.health.Watch(request)
        await first.read()
        failure = await failure_of(client.health.Watch(request))
        assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert failure.message == "no more than 1 may be open"
        first.cancel()
