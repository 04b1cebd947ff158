"""llama.cpp with prefix caching off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..cache_contract import prompts_of_one_prefix
from ..generation import GREEDY, drain, request_for
from .test_llama_cpp import SETTINGS
from .test_process import launch


async def test_nothing_is_cached(gguf_file: Path) -> None:
    """With prefix caching off a prefix of 1,000 tokens is read again."""
    settings = replace(SETTINGS, max_running=1, prefix_caching=False)
    engine = await launch(gguf_file, settings)
    first, second = await prompts_of_one_prefix(engine, " First of all", " Next comes this")
    params = replace(GREEDY, max_tokens=2)
    results = [
        await drain(engine.generate(request_for(prompt, params))) for prompt in (first, second)
    ]
    await engine.close()
    assert [result.finished.num_cached_prompt_tokens for result in results] == [0, 0]
