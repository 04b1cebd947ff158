"""Each of SGLang's processes is frozen in turn, and the service goes on."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tokenwire.server.contract.engine import Engine

from ..conftest import MODEL_ID
from ..server.engines.sglang.fixtures import find_process
from .restart import assert_goes_on
from .services import Service, start_service


def _find(engine: Engine, victim: str) -> int:
    return engine.pid if victim == "host" else find_process(engine.pid, victim)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service() -> AsyncIterator[Service]:
    """A service with an SGLang of its own, started anew by each test."""
    async with start_service(
        LLM_ALLOWED_MODELS=MODEL_ID,
        LLM_ENGINE="sglang",
        LLM_DEVICE="cpu",
        LLM_MAX_MODEL_LEN="1024",
        LLM_MAX_CONCURRENT_REQUESTS="8",
        LLM_HANG_TIMEOUT_S="5",
    ) as started:
        yield started


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("victim", ["scheduler", "detokenizer", "host"])
async def test_frozen_process_is_replaced(service: Service, victim: str) -> None:
    """Whichever process a signal stops: the engine is replaced, and its streams go on."""
    await assert_goes_on(
        service, lambda engine: _find(engine, victim), signal.SIGSTOP, is_exact=False
    )
