"""SGLang with prefix caching off, which takes a start of its own."""

from __future__ import annotations

from dataclasses import replace

from tokenwire.server.contract.engine_settings import ModelFiles
from tokenwire.server.engines.sglang.settings import SglangSettings

from ..server.engines.cache_contract import prompts_of_one_prefix
from ..server.engines.generation import GREEDY, drain, request_for
from ..server.engines.sglang.fixtures import launcher_for


async def test_nothing_is_cached(
    sglang_model_files: ModelFiles, sglang_settings: SglangSettings
) -> None:
    """With prefix caching off a prefix of 1,000 tokens is read again."""
    settings = replace(sglang_settings, max_running=1, prefix_caching=False)
    engine = await launcher_for(sglang_model_files, settings).launch(lambda _: None)
    first, second = await prompts_of_one_prefix(engine, " First of all", " Next comes this")
    params = replace(GREEDY, max_tokens=2)
    results = [
        await drain(engine.generate(request_for(prompt, params))) for prompt in (first, second)
    ]
    await engine.close()
    assert [result.finished.num_cached_prompt_tokens for result in results] == [0, 0]
