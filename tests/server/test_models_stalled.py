"""An engine that lives and does nothing, over a real socket."""

from __future__ import annotations

from tokenwire.server.models import State

from .fronts import collect, failure_of, start_front, wait_for_state
from .scripted_engine import ScriptedEngine, ScriptedLauncher


async def test_frozen_engine_is_replaced() -> None:
    """Its streams end with ENGINE_LOST after LLM_STALL_TIMEOUT_S, and the next engine answers."""
    frozen, healthy = ScriptedEngine(), ScriptedEngine()
    frozen.allow(1)
    healthy.allow(1)
    launcher = ScriptedLauncher(frozen, healthy)
    async with start_front(launcher.prepare, LLM_STALL_TIMEOUT_S="0.5") as client:
        failure = await failure_of(client.inference.Chat(client.chat("go")))
        assert failure.reason == "ENGINE_LOST"
        assert failure.retry_after_s == 5
        await wait_for_state(client.app, State.SERVING)
        request = client.chat("go")
        request.sampling.max_tokens = 1
        assert (await collect(client.inference.Chat(request))).text == "0 "
        assert frozen.is_closed
        assert next(iter(client.app.models)).num_restarts == 1
