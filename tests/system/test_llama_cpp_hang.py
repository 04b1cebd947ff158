"""llama.cpp's child is frozen, and the service goes on."""

from __future__ import annotations

import signal

import pytest

from ..conftest import MODEL_ID
from .restart import assert_goes_on
from .services import start_service


@pytest.mark.faults
async def test_frozen_child_is_replaced() -> None:
    """A child that a signal stops is ended after LLM_HANG_TIMEOUT_S; its streams go on, whole."""
    async with start_service(
        LLM_ALLOWED_MODELS=MODEL_ID,
        LLM_ENGINE="llamacpp",
        LLM_MAX_MODEL_LEN="1024",
        LLM_HANG_TIMEOUT_S="1",
    ) as service:
        await assert_goes_on(service, lambda engine: engine.pid, signal.SIGSTOP)
