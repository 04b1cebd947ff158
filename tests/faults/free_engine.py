"""A scripted engine that never waits, which can all that requests may ask for, and its service."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import structlog
from structlog.typing import EventDict
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.config import EdgeConfig
from tokenwire.server.contract.engine import Capabilities, EngineRequest
from tokenwire.server.contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    Started,
)
from tokenwire.server.contract.token_ids import TokenIds

from ..server.fronts import Client, start_front
from ..server.scripted_engine import ScriptedEngine, ScriptedLauncher

CONTEXT_LENGTH = 32


class FreeEngine(ScriptedEngine):
    """Answers each request at once, with as many tokens as its `max_tokens`.

    A request with a constraint gets an empty answer, which was cut short.
    """

    def __init__(self, max_running: int = 64) -> None:
        super().__init__(context_length=CONTEXT_LENGTH, max_running=max_running)
        capable: Capabilities = replace(
            self.info.capabilities, fill_in_the_middle=True, min_tokens=True, tools=True,
            reasoning=True, reasoning_switch=True, images=True,
        )  # fmt: skip
        self.info = replace(self.info, capabilities=capable)

    async def detokenize(self, token_ids: TokenIds) -> bytes:
        return bytes(each & 0xFF for each in token_ids)

    async def generate(self, request: EngineRequest) -> AsyncGenerator[EngineEvent]:
        if request.constraint:  # of which no text at all is a beginning
            for event in (Started(0), ChoiceFinished(FinishReason.LENGTH), Finished(0, 0)):
                yield event
            return
        async with aclosing(super().generate(request)) as events:
            async for event in events:
                yield event

    async def _take_token(self) -> BaseException | None:
        # Nothing of a run is kept: it may be long.
        self.requests.clear()
        self.prompts.clear()
        await asyncio.sleep(0)
        return None


@dataclass(frozen=True, slots=True)
class Service:
    """A front, its client, and the port of the edge before it."""

    front: Client
    http_port: int
    engine: FreeEngine
    errors: list[str]
    """What the log holds of the level error: nothing of it may come of a request."""


@asynccontextmanager
async def free_service(**edge: str) -> AsyncGenerator[Service]:
    """Runs front and edge before a `FreeEngine`; `edge` are variables of the edge."""
    # asyncio's debug mode is for tests of a few requests.
    loop = asyncio.get_running_loop()
    is_debug = loop.get_debug()
    loop.set_debug(False)
    logging = structlog.get_config()
    errors: list[str] = []

    def keep_errors(_logger: Any, level: str, event: EventDict) -> EventDict:
        if level in ("error", "critical"):
            exc_info = event.pop("exc_info", None)
            stack = traceback.format_exception(exc_info) if exc_info else []
            errors.append("".join((repr(event), *stack)))
        raise structlog.DropEvent

    structlog.configure(processors=[keep_errors])
    try:
        engine = FreeEngine()
        launcher = ScriptedLauncher(engine)
        async with start_front(
            launcher.prepare, LLM_MAX_DETACH_S="2", LLM_MAX_CONCURRENT_REQUESTS="64"
        ) as front:
            config = EdgeConfig.model_validate(
                {
                    "LLM_INFERENCE_HOSTNAME": "127.0.0.1",
                    "LLM_INFERENCE_PORT": "0",
                    "LLM_MAX_BODY_BYTES": str(256 * 1024),
                    "LLM_BODY_TIMEOUT_S": "5",
                    "LLM_GRPC_TARGET": f"127.0.0.1:{front.app.port}",
                    "LLM_METRICS_TARGET": f"http://127.0.0.1:{front.app.metrics_port}/metrics",
                    **edge,
                }
            )
            async with EdgeApp(config) as app:
                yield Service(front, app.port, engine, errors)
    finally:
        loop.set_debug(is_debug)
        structlog.configure(**logging)
