"""The probes."""

from __future__ import annotations

import aiohttp
from tokenwire.edge.app import EdgeApp

from .conftest import edge_config
from .scripted import ScriptedFront


async def test_live_needs_no_front() -> None:
    """The process is live whatever the front's state."""
    async with (
        EdgeApp(edge_config(LLM_GRPC_TARGET="127.0.0.1:1")) as edge,
        aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
    ):
        async with http.get("/health/live") as response:
            assert (response.status, await response.json()) == (200, {"status": "ok"})
        async with http.get("/health/ready") as response:
            assert response.status == 503
            assert await response.json() == {"status": "not_ready", "llm_models_loaded": False}


async def test_ready_on_the_real_front(http: aiohttp.ClientSession) -> None:
    """With a model that serves the edge is ready."""
    async with http.get("/health/ready") as response:
        assert response.status == 200
        assert await response.json() == {"status": "ok", "llm_models_loaded": True}


async def test_ready_follows_the_front(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """While the front is not ready, so is the edge not."""
    scripted.is_ready = False
    async with scripted_http.get("/health/ready") as response:
        assert response.status == 503
