"""llama.cpp keeps the contract of every engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from tokenwire.server.contract.engine import Engine, EngineLauncher
from tokenwire.server.contract.engine_settings import ModelFiles, ModelFormat
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher

from ....conftest import MODEL_ID
from ..cache_contract import prompts_of_one_prefix
from ..contract import EngineContract
from ..generation import GREEDY, drain, request_for
from .launching import SETTINGS, launch


@pytest.fixture(scope="module")
def launcher(gguf_file: Path) -> EngineLauncher:
    return LlamaCppLauncher(ModelFiles(MODEL_ID, ModelFormat.GGUF, gguf_file), SETTINGS)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def engine(launcher: EngineLauncher) -> AsyncIterator[Engine]:
    engine = await launcher.launch(lambda _: None)
    yield engine
    await engine.close()


class TestLlamaCpp(EngineContract):
    """llama.cpp on the small model."""

    lacks = {
        "token_ids": "the stream has only the last id of a character that took several tokens",
        "min_tokens": "llama.cpp has no such limit",
    }


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
