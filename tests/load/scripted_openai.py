"""An OpenAI server that sends what a test tells it to: the bytes, one write each."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from tokenwire.load.faces.exchange import Exchange
from tokenwire.load.faces.face import Face, LoadRequest, Sending

WHOLE = (
    b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"b"},"finish_reason":"length"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,'
    b'"prompt_tokens_details":{"cached_tokens":3}}}\n\n',
    b"data: [DONE]\n\n",
)
Step = bytes | asyncio.Event | web.Response


class ScriptedOpenAi:
    """Answers each request with the same steps; an event is waited for."""

    def __init__(self, *steps: Step) -> None:
        self.steps: Sequence[Step] = steps or WHOLE
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.connections: list[object] = []  # each once
        self.entered = asyncio.Event()
        self.url = ""

    async def models(self, _request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "first"}, {"id": "second"}]})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(json.loads(await request.read()))
        self.headers.append(dict(request.headers))
        if request.transport not in self.connections:
            self.connections.append(request.transport)
        self.entered.set()
        if isinstance(self.steps[0], web.Response):
            return web.Response(status=self.steps[0].status, body=self.steps[0].body)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for step in self.steps:
            if isinstance(step, asyncio.Event):
                await step.wait()
            elif isinstance(step, bytes):
                await response.write(step)
        return response


class WatchedExchange(Exchange):
    """Tells when the usage has been read, and with it all that came in the same write."""

    __slots__ = ("has_usage",)

    def __init__(self) -> None:
        super().__init__(time.perf_counter, 0.0)
        self.has_usage = asyncio.Event()

    def note_usage(
        self, prompt: int | None, output: int | None, num_cached: int | None = None
    ) -> None:
        super().note_usage(prompt, output, num_cached)
        self.has_usage.set()


async def count_connections(server: ScriptedOpenAi, face: Face, ends: asyncio.Event) -> int:
    """Sends two requests one after the other; each response ends behind its last event."""
    for _ in range(2):
        exchange = WatchedExchange()
        sending = face.send(Sending("m"), LoadRequest("hello", 5, 1), exchange)
        task = asyncio.create_task(sending)
        await exchange.has_usage.wait()
        ends.set()
        await task
        ends.clear()
    return len(server.connections)


@asynccontextmanager
async def serving(server: ScriptedOpenAi) -> AsyncGenerator[str]:
    """Serves on a free port of this machine; gives the address."""
    app = web.Application()
    app.router.add_get("/v1/models", server.models)
    app.router.add_post("/v1/chat/completions", server.complete)
    app.router.add_post("/v1/completions", server.complete)
    app.router.add_post("/api/chat/stream", server.complete)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
