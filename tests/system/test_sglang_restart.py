"""Each of SGLang's processes is killed in turn, and the service goes on."""

from __future__ import annotations

from typing import cast

import pytest
from tokenwire.server.contract.engine import Engine
from tokenwire.server.engines.sglang.front.engine import SglangEngine

from ..conftest import MODEL_ID
from ..server.engines.sglang.fixtures import find_process
from .restart import assert_survives
from .services import start_service

VICTIMS = ("scheduler", "detokenizer", "host")


def _find(engine: Engine, victim: str) -> int:
    host = cast("SglangEngine", engine).pid
    return host if victim == "host" else find_process(host, victim)


@pytest.mark.timeout(900)
async def test_service_survives_the_death_of_any_process() -> None:
    """Kill -9 of scheduler, detokenizer or host ends streams with UNAVAILABLE; then it serves."""
    async with start_service(
        LLM_ALLOWED_MODELS=MODEL_ID,
        LLM_ENGINE="sglang",
        LLM_DEVICE="cpu",
        LLM_MAX_MODEL_LEN="1024",
        LLM_MAX_CONCURRENT_REQUESTS="4",
    ) as service:
        for victim in VICTIMS:
            await assert_survives(service, lambda engine, name=victim: _find(engine, name))
