"""Each of SGLang's processes is killed in turn, and the service goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest
import pytest_asyncio
from tokenwire.server.contract.engine import Engine
from tokenwire.server.engines.sglang.front.engine import SglangEngine

from ..conftest import MODEL_ID
from ..server.engines.sglang.fixtures import find_process
from .restart import assert_survives
from .services import Service, start_service


def _find(engine: Engine, victim: str) -> int:
    host = cast("SglangEngine", engine).pid
    return host if victim == "host" else find_process(host, victim)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service() -> AsyncIterator[Service]:
    """A service with an SGLang of its own, started anew by each test."""
    async with start_service(
        LLM_ALLOWED_MODELS=MODEL_ID,
        LLM_ENGINE="sglang",
        LLM_DEVICE="cpu",
        LLM_MAX_MODEL_LEN="1024",
        LLM_CRASH_CONTINUATION="false",
        LLM_MAX_CONCURRENT_REQUESTS="4",
    ) as started:
        yield started


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "victim",
    [
        "host",
        # Each costs a start. Without a service around it, a scheduler dies in every run.
        pytest.param("scheduler", marks=pytest.mark.faults),
        pytest.param("detokenizer", marks=pytest.mark.faults),
    ],
)
async def test_service_survives_a_death(service: Service, victim: str) -> None:
    """Kill -9 of any process ends streams with UNAVAILABLE; then it serves."""
    await assert_survives(service, lambda engine: _find(engine, victim))
