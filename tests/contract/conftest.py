"""One real service for all of the contract, and a scripted one for each test that wants one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from .real_service import RealService, real_service
from .stage import Stage, start_stage


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(
    tmp_path_factory: pytest.TempPathFactory, gguf_file: Path
) -> AsyncIterator[RealService]:
    """The service on llama.cpp, started once."""
    async with real_service(tmp_path_factory.mktemp("contract"), gguf_file) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_stage() -> AsyncIterator[Stage]:
    """A front and an edge before an engine that answers whatever it is asked."""
    async with start_stage() as running:
        yield running


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    """The same for a test alone, whose engine may fail and gives no token but those allowed."""
    async with start_stage() as running:
        yield running
