"""The edge as a whole: start, drain and signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from tokenwire.edge import app as edge_app
from tokenwire.edge.app import EdgeApp, serve
from tokenwire.environment import ConfigurationError

from ..certificates import PairFiles
from .conftest import edge_config
from .scripted import MODEL, ScriptedFront, ended, started, text
from .sse_reading import parse_events

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
GUARD_S = 45.0


async def test_a_drain_lets_streams_finish(scripted: ScriptedFront) -> None:
    """During a drain running streams end whole, new requests get 503 and the edge is not ready."""
    more = asyncio.Event()

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        await more.wait()
        yield text(request, "x")
        for event in ended(request):
            yield event

    scripted.script = script
    edge = EdgeApp(edge_config(LLM_GRPC_TARGET=scripted.target))
    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
        await edge.__aenter__()
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
            http.post("/api/chat/stream", json=CHAT) as response,
        ):
            ending = tasks.create_task(edge.__aexit__(None, None, None))
            await asyncio.sleep(0)  # the drain has begun
            async with http.post("/api/chat", json=CHAT) as refused:
                assert refused.status == 503
                assert refused.headers["Retry-After"] == "5"
            async with http.get("/health/ready") as ready:
                assert ready.status == 503
            async with http.get("/health/live") as live:
                assert live.status == 200
            assert not ending.done()
            more.set()
            events = parse_events(await response.text())
    assert events[0] == {"content": "x"}
    assert events[-1]["done"] is True


async def test_a_drain_ends_streams_at_its_limit(scripted: ScriptedFront) -> None:
    """A stream that outlives the drain ends with an error event."""

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        await asyncio.Event().wait()

    scripted.script = script
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_DRAIN_TIMEOUT_S="0.05")
    edge = EdgeApp(config)
    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
        await edge.__aenter__()
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
            http.post("/api/chat/stream", json=CHAT) as response,
        ):
            tasks.create_task(edge.__aexit__(None, None, None))
            (event,) = parse_events(await response.text())
        await scripted.cancelled.wait()
    assert event == {
        "error": "Service unavailable: the server is draining",
        "code": "SERVICE_UNAVAILABLE",
    }


async def test_a_second_signal_forces_the_end(scripted: ScriptedFront) -> None:
    """SIGTERM drains; a second one ends what still runs."""

    async def script(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        await asyncio.Event().wait()

    scripted.script = script
    port = _free_port()
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_INFERENCE_PORT=str(port))
    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(serve(config))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            await _listening(port)
            async with http.post("/api/chat/stream", json=CHAT) as response:
                os.kill(os.getpid(), signal.SIGTERM)
                async with http.get("/health/live") as live:
                    assert live.status == 200
                assert not serving.done()
                os.kill(os.getpid(), signal.SIGTERM)
                (event,) = parse_events(await response.text())
        await serving
    assert event["code"] == "SERVICE_UNAVAILABLE"


async def test_a_taken_port_is_told_by_name(scripted_edge: EdgeApp) -> None:
    """A port that cannot be opened ends the start with the name of its variable."""
    config = edge_config(LLM_INFERENCE_PORT=str(scripted_edge.port))
    with pytest.raises(ConfigurationError, match="LLM_INFERENCE_PORT: cannot listen on"):
        async with EdgeApp(config):
            pass


def test_it_runs_on_uvloop() -> None:
    """On uvloop, which `tokenwire` uses, a request is served and a leaving client is noticed."""

    async def endless(_request: Any, _context: Any) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield

    async def run() -> None:
        async with (
            asyncio.timeout(GUARD_S),
            ScriptedFront() as front,
            EdgeApp(edge_config(LLM_GRPC_TARGET=front.target)) as edge,
            aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
        ):
            async with http.post("/api/chat", json=CHAT) as response:
                assert response.status == 200
            front.entered.clear()
            front.script = endless
            call = asyncio.ensure_future(http.post("/api/chat", json=CHAT).__aenter__())
            await front.entered.wait()
            call.cancel()
            await front.cancelled.wait()

    uvloop.run(run())


def _free_port() -> int:

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0)  # the server opens its port in the same loop
            continue
        writer.close()
        await writer.wait_closed()
        return


async def test_a_handshake_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who connects to the port of TLS and says nothing is hung up on."""
    monkeypatch.setattr(edge_app, "_HANDSHAKE_TIMEOUT_S", 0.05)
    config = edge_config(LLM_GRPC_TARGET="127.0.0.1:1", **PairFiles(tmp_path).variables())
    async with EdgeApp(config) as edge, asyncio.timeout(GUARD_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        assert await reader.read() == b""
        writer.close()


async def test_files_of_tls_are_checked_before_the_port_opens(tmp_path: Path) -> None:
    """Those of either end: the server's own, and what it trusts in the front."""
    pair = PairFiles(tmp_path)
    trusts_nothing = {"LLM_GRPC_TARGET_CA_PATH": str(tmp_path / "nowhere.pem")}
    config = edge_config(LLM_GRPC_TARGET="127.0.0.1:1", **pair.variables(), **trusts_nothing)
    edge = EdgeApp(config)
    with pytest.raises(ConfigurationError, match=r"LLM_GRPC_TARGET_CA_PATH: .* cannot be read"):
        await edge.__aenter__()
    assert edge.port == 0
