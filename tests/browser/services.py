"""Running services for a browser: edge and front, on the engine that a test chooses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tokenwire.edge.app import EdgeApp
from tokenwire.server.app import ServerApp

from ..edge.conftest import edge_config
from ..server.fronts import start_front
from ..server.scripted_engine import ScriptedEngine, ScriptedLauncher


@dataclass(frozen=True)
class Service:
    """Edge and front that serve."""

    url: str
    front: ServerApp
    edge: EdgeApp


@dataclass(frozen=True)
class ScriptedService(Service):
    """Edge and front on engines that generate what a test allows, the first one's at hand."""

    engine: ScriptedEngine


@asynccontextmanager
async def scripted_services(
    *engines: ScriptedEngine,
    front: Mapping[str, str] | None = None,
    edge: Mapping[str, str] | None = None,
) -> AsyncGenerator[ScriptedService]:
    """Runs a service; `front` and `edge` are further variables of each by name.

    Each launch takes the next engine; without any there is one.
    """
    engines = engines or (ScriptedEngine(context_length=4096),)
    launcher = ScriptedLauncher(*engines)
    async with start_front(launcher.prepare, **(front or {})) as client:
        config = edge_config(
            LLM_GRPC_TARGET=f"127.0.0.1:{client.app.port}",
            LLM_METRICS_TARGET=f"http://127.0.0.1:{client.app.metrics_port}/metrics",
            **(edge or {}),
        )
        async with EdgeApp(config) as app:
            yield ScriptedService(f"http://127.0.0.1:{app.port}", client.app, app, engines[0])
