"""Texts of callers stay out of what SGLang's processes write, too."""

from __future__ import annotations

from pathlib import Path

from ..conftest import MODEL_ID
from ..system.canary import assert_nothing_leaked, send_canaries, watched_service


async def test_texts_stay_between_caller_and_sglang(tmp_path: Path) -> None:
    """As `tests/system/test_canary.py` does with llama.cpp; a start of SGLang takes a minute."""
    variables = {"LLM_ENGINE": "sglang", "LLM_DEVICE": "cpu"}
    async with watched_service(tmp_path, MODEL_ID, **variables) as watched:
        await send_canaries(watched)
    assert_nothing_leaked(watched)
    assert len(watched.events("request")) > 10
    levels = {event["level"] for event in watched.events("engine_output")}
    assert levels <= {"info", "warning", "error"}
