"""Numbers about HTTP, and those of the front beside them."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
from tokenwire.edge.app import EdgeApp

from ..conftest import edge_config
from ..scripted import ScriptedFront

GUARD_S = 45.0


async def test_metrics_of_front_and_edge(http: aiohttp.ClientSession) -> None:
    """The front's metrics come first and the edge's behind them, by route template."""
    async with http.get("/api/llms") as response:
        assert response.status == 200
    async with http.get("/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = (await response.text()).splitlines()
    assert "llm_edge_front_up 1.0" in lines
    assert any(line.startswith("grpc_server_handled_total{") for line in lines)
    assert any(
        line.startswith('http_requests_total{method="GET",route="/api/llms",status="200"}')
        for line in lines
    )
    names = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    assert len(names) == len(set(names)), "no metric of the front stands twice"


async def test_metrics_without_a_front(scripted_http: aiohttp.ClientSession) -> None:
    """Without the front's metrics the edge still answers its own, and says so."""
    async with scripted_http.get("/no/such/path") as response:
        assert response.status == 404
    async with scripted_http.get("/metrics") as response:
        assert response.status == 200
        metrics = await response.text()
    assert "llm_edge_front_up 0.0" in metrics
    assert 'route="unmatched",status="404"' in metrics
    assert "/no/such/path" not in metrics


async def test_metrics_do_not_wait_for_a_frozen_front(scripted: ScriptedFront) -> None:
    """A front that never answers its scrape delays ours by its bound only: takes that second."""
    frozen = socket.create_server(("127.0.0.1", 0))  # connects, and then nothing
    port = frozen.getsockname()[1]
    config = edge_config(
        LLM_GRPC_TARGET=scripted.target, LLM_METRICS_TARGET=f"http://127.0.0.1:{port}/metrics"
    )
    with frozen:
        async with (
            asyncio.timeout(GUARD_S),
            EdgeApp(config) as edge,
            aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
            http.get("/metrics") as response,
        ):
            assert response.status == 200
            assert "llm_edge_front_up 0.0" in await response.text()
