"""llama.cpp's child is killed, and the service goes on."""

from __future__ import annotations

from typing import cast

from tokenwire.server.contract.engine import Engine
from tokenwire.server.engines.llama_cpp.engine import LlamaCppEngine

from ..conftest import MODEL_ID
from .restart import assert_goes_on, assert_survives
from .services import start_service


def _child(engine: Engine) -> int:
    return cast("LlamaCppEngine", engine).pid


async def test_service_survives_the_death_of_the_child() -> None:
    """Without continuation kill -9 of the child ends its streams; the next request is served."""
    async with start_service(
        LLM_ALLOWED_MODELS=MODEL_ID,
        LLM_ENGINE="llamacpp",
        LLM_MAX_MODEL_LEN="1024",
        LLM_CRASH_CONTINUATION="false",
    ) as service:
        await assert_survives(service, _child)


async def test_streams_go_on_over_the_death_of_the_child() -> None:
    """Kill -9 of the child leaves no trace in any answer: streamed, whole, of several choices."""
    async with start_service(
        LLM_ALLOWED_MODELS=MODEL_ID, LLM_ENGINE="llamacpp", LLM_MAX_MODEL_LEN="1024"
    ) as service:
        await assert_goes_on(service, _child)
