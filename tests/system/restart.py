"""What the service promises when a process of its engine is killed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from tokenwire.generated.tokenwire.v1 import events_pb2
from tokenwire.server.contract.engine import Engine
from tokenwire.server.models.model_state import State

from ..server.fronts import GENERATE, check, collect, failure_of, wait_for_state
from .services import Service

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_HANG_S = 300
_NUMBERS = "(one|two), ([0-9], ){12}9"


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


async def assert_goes_on(
    service: Service,
    find_victim: Callable[[Engine], int],
    number: signal.Signals = signal.SIGKILL,
    *,
    is_exact: bool = True,
) -> None:
    """Kills or stops a process of the engine in mid-stream: every answer is as undisturbed.

    Where an engine's rounding depends on what it computes beside a request, only that every answer
    comes to its end, and that the constraint holds over the whole of it.
    """
    client, http = service.client, service.http
    model = next(iter(client.app.models))

    def story(**fields: Any) -> Any:
        request = client.prompt("Once upon a time, in a small village by the sea,", **fields)
        request.sampling.max_tokens = 30
        request.sampling.ignore_eos = True
        return request

    final = story(delivery=events_pb2.DELIVERY_FINAL)
    pair = story()
    pair.sampling.n = 2
    pair.sampling.frequency_penalty = 0.5
    constrained = client.prompt("Numbers:", constraint={"regex": _NUMBERS})
    constrained.sampling.max_tokens = 100
    body = {
        "model": client.model,
        "messages": [{"role": "user", "content": "Tell me a very long story."}],
        "max_tokens": 30,
        "temperature": 0,
    }

    async def ask_all(*, kills: bool) -> list[dict[int, str]]:
        num_restarts = model.keeper.num_restarts
        calls = [client.inference.Generate(each) for each in (story(), pair, constrained)]
        whole = asyncio.ensure_future(client.unary(GENERATE)(final))
        texts = [defaultdict[int, str](str) for _ in calls]
        async with http.post("/api/chat/stream", json=body) as response:
            assert response.status == 200
            for call, text in zip(calls, texts, strict=True):
                while len(text[0]) < 20:
                    add_text(text, await call.read())
            lines = [await response.content.readline() for _ in range(8)]
            if kills:
                os.kill(find_victim(model.engine), number)
            lines += (await response.content.read()).splitlines()
        for call, text in zip(calls, texts, strict=True):
            while (event := await call.read()) is not grpc.aio.EOF:
                add_text(text, event)
        streamed = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]
        assert model.keeper.num_restarts == num_restarts + kills
        return [
            *map(dict, texts),
            {0: (await whole).finished.choices[0].text},
            {0: "".join(event.get("content", "") for event in streamed)},
        ]

    num_hangs = model.keeper.num_hangs
    async with asyncio.timeout(_HANG_S):
        undisturbed = await ask_all(kills=False)
        assert all(text[0] for text in undisturbed)
        disturbed = await ask_all(kills=True)
    assert re.fullmatch(_NUMBERS, disturbed[2][0])
    if is_exact:
        assert disturbed == undisturbed
    else:
        assert [set(texts) for texts in disturbed] == [set(texts) for texts in undisturbed]
    assert model.keeper.num_hangs == num_hangs + (number is signal.SIGSTOP)


def add_text(texts: dict[int, str], event: Any) -> None:
    """Adds what an event says to the texts of the choices."""
    for delta in event.deltas.deltas:
        texts[delta.choice] += delta.text.text
