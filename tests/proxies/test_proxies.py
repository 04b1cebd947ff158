"""Behind proxies: events arrive one by one, leaving frees the engine, long prefills survive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tokenwire.edge.app import EdgeApp

from ..edge.scripted import MODEL, ScriptedFront, ended, started, text
from .proxies import PROXIES, Proxy

pytestmark = pytest.mark.clients

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
GUARD_S = 45.0
PAUSE_S = 90


@pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.name)
async def test_events_arrive_one_by_one(
    scripted: ScriptedFront,
    scripted_edge: EdgeApp,
    tmp_path: Path,
    proxy: Proxy,
) -> None:
    """With its buffering at its default, nothing waits for what comes next."""
    read = asyncio.Event()

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        for number in range(20):
            read.clear()
            yield text(request, str(number))
            await read.wait()
        for event in ended(request):
            yield event

    scripted.script = script
    async with (
        proxy.before(scripted_edge.port, tmp_path) as url,
        aiohttp.ClientSession(url) as http,
        asyncio.timeout(GUARD_S),
        http.post("/api/chat/stream", json=CHAT) as response,
    ):
        assert response.status == 200
        for number in range(20):
            event = await response.content.readuntil(b"\n\n")
            assert json.loads(event.removeprefix(b"data: ")) == {"content": str(number)}
            read.set()
        assert b'"done":true' in await response.content.readuntil(b"\n\n")


@pytest.mark.parametrize(
    ("path", "has_begun"),
    [("/api/chat", False), ("/api/chat/stream", False), ("/api/chat/stream", True)],
    ids=["whole", "queued", "begun"],
)
@pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.name)
async def test_a_client_that_leaves_frees_the_engine(
    scripted: ScriptedFront,
    scripted_edge: EdgeApp,
    tmp_path: Path,
    proxy: Proxy,
    *,
    has_begun: bool,
    path: str,
) -> None:
    """Before the first byte and behind it; the proxy closes its own connection, too."""

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        if has_begun:
            yield started(request)
            yield text(request, "x")
        await asyncio.Event().wait()

    scripted.script = script
    async with (
        proxy.before(scripted_edge.port, tmp_path) as url,
        aiohttp.ClientSession(url) as http,
        asyncio.timeout(GUARD_S),
    ):
        call = asyncio.ensure_future(http.post(path, json=CHAT).__aenter__())
        await scripted.entered.wait()
        if has_begun:
            await (await call).content.readuntil(b"\n\n")
            (await call).close()
        call.cancel()
        await scripted.cancelled.wait()


async def test_a_long_prefill_is_survived(
    scripted: ScriptedFront,
    scripted_edge: EdgeApp,
    tmp_path: Path,
) -> None:
    """90 s of silence before the engine accepts, and behind that, at the proxies' own time limits.

    It takes these 90 s: they are longer than the 60 s of nginx and the 50 s of HAProxy.
    """

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        accepts_late = request.messages[0].content[0].text == "late"
        if accepts_late:
            await asyncio.sleep(PAUSE_S)
        yield started(request)
        if not accepts_late:
            await asyncio.sleep(PAUSE_S)
        yield text(request, "x")
        for event in ended(request):
            yield event

    async def ask(url: str, words: str) -> str:
        body = CHAT | {"messages": [{"role": "user", "content": words}]}
        async with (
            aiohttp.ClientSession(url) as http,
            http.post("/api/chat/stream", json=body) as response,
        ):
            assert response.status == 200
            return await response.text()

    scripted.script = script
    async with AsyncExitStack() as running, asyncio.timeout(PAUSE_S + 2 * GUARD_S):
        urls = [
            await running.enter_async_context(proxy.before(scripted_edge.port, tmp_path))
            for proxy in PROXIES
        ]
        asked = [(url, words) for url in urls for words in ("late", "soon")]
        for stream in await asyncio.gather(*(ask(*each) for each in asked)):
            *beats, told, _end, _last = stream.split("\n\n")
            assert told.replace(": ping\n", "") == 'data: {"content":"x"}'
            assert not beats
            assert stream.count(": ping\n") >= 2
