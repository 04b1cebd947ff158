"""The service with the real model, and an edge before a front that answers by script."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tokenwire.edge.app import EdgeApp

from ..conftest import MODEL_ID
from ..edge.conftest import edge, edge_config, front, serving
from ..edge.scripted import ScriptedFront
from .scripted_answers import Answers, scripted_answers

__all__ = ["edge", "front"]

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what stands here: `make test-clients` runs it, `make test` does not."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker("clients")


@pytest_asyncio.fixture(loop_scope="session")
async def answers() -> AsyncIterator[tuple[Answers, EdgeApp]]:
    """What the scripted front has seen, and the edge before it."""
    async with ScriptedFront() as scripted:
        seen = scripted_answers(scripted)
        async with EdgeApp(edge_config(LLM_GRPC_TARGET=scripted.target)) as app:
            yield seen, app


@pytest_asyncio.fixture(loop_scope="session")
async def surroundings(
    edge: EdgeApp, front: object, answers: tuple[Answers, EdgeApp]
) -> dict[str, str]:
    """The variables that a script reads."""
    await serving(front)
    return {
        "REAL_URL": f"http://127.0.0.1:{edge.port}/v1",
        "SCRIPTED_URL": f"http://127.0.0.1:{answers[1].port}/v1",
        "MODEL": MODEL_ID,
    }
