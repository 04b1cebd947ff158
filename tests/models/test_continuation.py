"""Streams of SGLang go on when its processes are killed."""

from __future__ import annotations

from typing import cast

import pytest
from tokenwire.server.contract.engine import Engine
from tokenwire.server.engines.sglang.front.engine import SglangEngine

from ..conftest import MODEL_ID
from ..system.restart import assert_goes_on
from ..system.services import start_service


def _host(engine: Engine) -> int:
    return cast("SglangEngine", engine).pid


@pytest.mark.timeout(900)
async def test_streams_go_on_over_the_death_of_the_host() -> None:
    """Kill -9 of the host leaves no trace in any answer: streamed, whole, of several choices."""
    async with start_service(
        LLM_ALLOWED_MODELS=MODEL_ID,
        LLM_ENGINE="sglang",
        LLM_DEVICE="cpu",
        LLM_MAX_MODEL_LEN="1024",
        LLM_MAX_CONCURRENT_REQUESTS="8",
    ) as service:
        await assert_goes_on(service, _host)
