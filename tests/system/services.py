"""The whole service inside the test's process: a front, an edge before it, and their clients."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.config import EdgeConfig
from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.load_progress import ReportProgress
from tokenwire.server.models.model_state import Prepare, PreparedModel

from ..server.fronts import Client, start_front


@dataclass(frozen=True)
class Service:
    """Clients of one running service."""

    client: Client
    http: aiohttp.ClientSession


@dataclass(frozen=True)
class Handover:
    """Gives an engine that runs already to a front."""

    engine: Engine

    async def launch(self, report: ReportProgress) -> Engine:  # noqa: ARG002
        return self.engine

    async def prepare(self, model_id: str, report: ReportProgress) -> PreparedModel:  # noqa: ARG002
        return PreparedModel(self)


class Lent:
    """An engine that others use, too: everything of it but its end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def close(self) -> None:
        """Leaves the engine to those who go on with it."""


@asynccontextmanager
async def start_service(prepare: Prepare | None = None, **values: Any) -> AsyncGenerator[Service]:
    """Runs a front and an edge on free ports until the model serves."""
    async with start_front(prepare, **values) as client:
        config = EdgeConfig.model_validate(
            {
                "LLM_INFERENCE_HOSTNAME": "127.0.0.1",
                "LLM_INFERENCE_PORT": "0",
                "LLM_GRPC_TARGET": f"127.0.0.1:{client.app.port}",
                "LLM_METRICS_TARGET": f"http://127.0.0.1:{client.app.metrics_port}/metrics",
            }
        )
        async with (
            EdgeApp(config) as edge,
            aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
        ):
            yield Service(client, http)
