"""What the service promises when a process of its engine is killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import grpc
from grpc_health.v1 import health_pb2
from tokenwire.server.contract.engine import Engine
from tokenwire.server.models.model_state import State

from ..server.fronts import check, collect, failure_of, wait_for_state
from .services import Service

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_HANG_S = 300


async def assert_survives(service: Service, find_victim: Callable[[Engine], int]) -> None:
    """Kills a process of the engine in mid-stream: streams end with details, then all is well."""
    client, http = service.client, service.http
    engine = next(iter(client.app.models)).engine
    watch = client.health.Watch(health_pb2.HealthCheckRequest(service=client.model))
    assert (await watch.read()).status == _SERVING

    request = client.chat("Tell me a very long story.")
    request.sampling.max_tokens = 900
    request.sampling.ignore_eos = True
    calls = [client.inference.Chat(request) for _ in range(2)]
    body = {
        "model": client.model,
        "messages": [{"role": "user", "content": "Tell me a very long story."}],
        "max_tokens": 900,
        "temperature": 0,
    }
    async with asyncio.timeout(_HANG_S):
        for call in calls:
            await call.read()
        async with http.post("/api/chat/stream", json=body) as response:
            assert response.status == 200
            await response.content.readline()
            os.kill(find_victim(engine), signal.SIGKILL)
            for call in calls:
                failure = await failure_of(call)
                assert failure.code is grpc.StatusCode.UNAVAILABLE
                assert failure.reason == "ENGINE_LOST"
                assert failure.retry_after_s == 5
            rest = (await response.content.read()).decode()
            assert rest.rstrip().rpartition("\n")[2].startswith('data: {"error":"')
        assert (await watch.read()).status == _NOT_SERVING
        assert await check(client, "liveness") == _SERVING
        async with http.get("/health/live") as live:
            assert live.status == 200
        await wait_for_state(client.app, State.SERVING, _HANG_S)
        assert (await watch.read()).status == _SERVING
        watch.cancel()
        assert next(iter(client.app.models)).engine is not engine
        question = client.chat("What is the capital of France?")
        question.sampling.max_tokens = 16
        assert "Paris" in (await collect(client.inference.Chat(question))).text
