"""A real front with the real engine, an edge before it, and an edge before a scripted front."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest_asyncio
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.config import EdgeConfig
from tokenwire.server.app import ServerApp
from tokenwire.server.contract.engine_settings import (
    Device,
    EngineSettings,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.contract.load_progress import ReportProgress
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher
from tokenwire.server.models.model_state import PreparedModel
from tokenwire.server.settings.server_config import ServerConfig

from ..conftest import MODEL_ID
from .scripted import ScriptedFront

MAX_CONCURRENT = 2
MAX_BODY_BYTES = 256 * 1024


def edge_config(**variables: str) -> EdgeConfig:
    """Returns the settings of an edge on a free port of this machine, from variables alone."""
    own = {
        "LLM_INFERENCE_HOSTNAME": "127.0.0.1",
        "LLM_INFERENCE_PORT": "0",
        "LLM_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
    }
    return EdgeConfig.model_validate({**own, **variables})


async def serving(front: ServerApp) -> None:
    """Returns once every model of the front serves."""
    ready = asyncio.Event()
    front.models.observe(lambda: ready.set() if front.models.is_ready else None)
    async with asyncio.timeout(120):  # loads the real model
        await ready.wait()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def front(gguf_file: Path) -> AsyncIterator[ServerApp]:
    """A front that serves the small model on llama.cpp."""

    async def prepare(model_id: str, _report: ReportProgress) -> PreparedModel:
        settings = EngineSettings(Device.CPU, MAX_CONCURRENT, max_model_len=1024, num_threads=1)
        files = ModelFiles(model_id, ModelFormat.GGUF, gguf_file)
        return PreparedModel(LlamaCppLauncher(files, settings), "test")

    config = ServerConfig.model_validate(
        {
            "LLM_ALLOWED_MODELS": MODEL_ID,
            "LLM_GRPC_HOSTNAME": "127.0.0.1",
            "LLM_GRPC_PORT": "0",
            "LLM_METRICS_PORT": "0",
            "LLM_MAX_CONCURRENT_REQUESTS": str(MAX_CONCURRENT),
        }
    )
    async with ServerApp(config, prepare) as app:
        yield app


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def edge(front: ServerApp) -> AsyncIterator[EdgeApp]:
    """An edge before the real front, whose model serves."""
    config = edge_config(
        LLM_GRPC_TARGET=f"127.0.0.1:{front.port}",
        LLM_METRICS_TARGET=f"http://127.0.0.1:{front.metrics_port}/metrics",
    )
    async with EdgeApp(config) as app:
        yield app


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def http(edge: EdgeApp, front: ServerApp) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the edge before the real front."""
    await serving(front)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as session:
        yield session


@pytest_asyncio.fixture(loop_scope="session")
async def scripted() -> AsyncIterator[ScriptedFront]:
    """A front that says what a test tells it to: for faults and timing."""
    async with ScriptedFront() as scripted_front:
        yield scripted_front


@pytest_asyncio.fixture(loop_scope="session")
async def scripted_edge(scripted: ScriptedFront) -> AsyncIterator[EdgeApp]:
    """An edge before the scripted front."""
    async with EdgeApp(edge_config(LLM_GRPC_TARGET=scripted.target)) as app:
        yield app


@pytest_asyncio.fixture(loop_scope="session")
async def scripted_http(scripted_edge: EdgeApp) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the edge before the scripted front."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{scripted_edge.port}") as session:
        yield session
