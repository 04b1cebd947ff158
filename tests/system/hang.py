"""What the service promises when a process of its engine is frozen."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from tokenwire.server.contract.engine import Engine
from tokenwire.server.models.model_state import State

from ..server.fronts import collect, wait_for_state
from .services import Service

_GUARD_S = 300


async def assert_replaced(service: Service, find_victim: Callable[[Engine], int]) -> None:
    """Stops a process of the engine in mid-stream: it counts as dead, and the next one answers."""
    client, http = service.client, service.http
    model = next(iter(client.app.models))
    engine, num_hangs = model.engine, model.keeper.num_hangs
    request = client.chat("Tell me a very long story.")
    request.sampling.max_tokens = 900
    request.sampling.ignore_eos = True
    call = client.inference.Chat(request)
    async with asyncio.timeout(_GUARD_S):
        await call.read()
        victim = find_victim(engine)
        os.kill(victim, signal.SIGSTOP)
        await wait_for_state(client.app, State.LOADING, _GUARD_S)
        async with http.get("/health/live") as live:
            assert live.status == 200
        await wait_for_state(client.app, State.SERVING, _GUARD_S)
        call.cancel()
        assert model.engine is not engine
        assert model.keeper.num_hangs == num_hangs + 1
        question = client.chat("What is the capital of France?")
        question.sampling.max_tokens = 16
        assert "Paris" in (await collect(client.inference.Chat(question))).text
