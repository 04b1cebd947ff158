"""The service before a scripted engine: for capacity, faults, timing, and what engines are told."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from tokenwire.server.contract.engine import SamplingParams
from tokenwire.server.contract.prompts import Prompt

from ..server.scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher
from ..system.services import Service, start_service

MESSAGES = [{"role": "user", "content": "Hi"}]
CHAT: dict[str, Any] = {"model": MODEL_ID, "messages": MESSAGES, "max_tokens": 2}
PROMPT: dict[str, Any] = {"model": MODEL_ID, "prompt": "Hi", "max_tokens": 2}


@dataclass(frozen=True)
class Stage:
    """A running service, and the engine behind it."""

    service: Service
    engine: ScriptedEngine

    @property
    def http(self) -> aiohttp.ClientSession:
        """A client of the edge."""
        return self.service.http

    @property
    def params(self) -> SamplingParams:
        """How the last request was to be answered."""
        return self.engine.requests[-1].params

    @property
    def prompt(self) -> Prompt:
        """What the last request asked."""
        return self.engine.prompts[-1]

    async def post(self, path: str, body: Any, status: int = 200) -> Any:
        """Posts JSON and returns the JSON of the answer; the engine generates what it needs."""
        self.engine.allow(100)
        async with self.http.post(path, json=body) as response:
            assert response.status == status, await response.text()
            return await response.json()


@asynccontextmanager
async def start_stage(
    engine: ScriptedEngine | None = None, **variables: Any
) -> AsyncGenerator[Stage]:
    """Starts the service with these variables."""
    engine = engine or ScriptedEngine()
    async with start_service(ScriptedLauncher(engine).prepare, **variables) as service:
        yield Stage(service, engine)
