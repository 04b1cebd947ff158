"""llama.cpp's child is frozen, and the service goes on."""

from __future__ import annotations

import pytest

from ..conftest import MODEL_ID
from .hang import assert_replaced
from .services import start_service


@pytest.mark.faults
async def test_frozen_child_is_replaced() -> None:
    """A child that a signal stops in mid-stream is ended after LLM_HANG_TIMEOUT_S, and replaced."""
    async with start_service(
        LLM_ALLOWED_MODELS=MODEL_ID,
        LLM_ENGINE="llamacpp",
        LLM_MAX_MODEL_LEN="1024",
        LLM_HANG_TIMEOUT_S="0.5",
    ) as service:
        await assert_replaced(service, lambda engine: engine.pid)
