"""An engine that counts its tokens and its time by itself: what a measurement must agree with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from tokenwire.server.contract.engine import EngineRequest
from tokenwire.server.contract.events import EngineEvent

from ..server.scripted_engine import ScriptedEngine, count

STEP_S = 0.01


class CountingEngine(ScriptedEngine):
    """Generates without waiting; every token moves its own clock on by a step.

    Who measures it reads the same clock, so that a slow machine changes nothing.
    """

    def __init__(self, max_running: int) -> None:
        super().__init__(context_length=4096, max_running=max_running)
        self.now_s = 0.0
        self.num_output_tokens = 0
        self.num_prompt_tokens = 0
        self.num_requests = 0

    def clock(self) -> float:
        return self.now_s

    async def generate(self, request: EngineRequest) -> AsyncGenerator[EngineEvent]:
        self.num_requests += 1
        self.num_prompt_tokens += len(request.prompt.token_ids)
        started, *events = count(request.params.max_tokens)
        yield started
        for number, event in enumerate(events):
            if number < request.params.max_tokens:
                self.now_s += STEP_S
                self.num_output_tokens += 1
            yield event
            await asyncio.sleep(0)  # lets others have their turn between two tokens
