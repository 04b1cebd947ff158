"""llama.cpp keeps the contract of every engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from tokenwire.server.contract.engine import Engine, EngineLauncher
from tokenwire.server.contract.engine_settings import ModelFiles, ModelFormat
from tokenwire.server.contract.errors import InvalidRequest
from tokenwire.server.contract.prompts import TextPrompt
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher

from ....conftest import MODEL_ID
from ..cache_contract import prompts_of_one_prefix
from ..choices_contract import ends_of, texts_of
from ..contract import EngineContract
from ..generation import GREEDY, STORY, answer, drain, request_for
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
        "prompt_logprobs": "llama.cpp's server tells none",
    }


async def test_more_choices_than_slots(gguf_file: Path) -> None:
    """Choices beyond the slots run once others have ended."""
    engine = await launch(gguf_file)
    params = replace(GREEDY, n=5, max_tokens=3, ignore_eos=True)
    result = await answer(engine, STORY, params)
    texts = set(texts_of(result).values())
    await engine.close()
    assert len(ends_of(result)) == 5
    assert len(texts) == 1
    assert result.finished.num_completion_tokens == 15


@pytest.mark.parametrize(("text", "is_whole"), [(" Paris", True), ("🎈", False)])
async def test_stop_id_needs_a_whole_character(gguf_file: Path, text: str, is_whole: bool) -> None:
    """A stop id that stands for part of a character, whose ids are not told, is refused."""
    engine = await launch(gguf_file)
    first = (await engine.render(TextPrompt(text))).token_ids[0]
    params = replace(GREEDY, max_tokens=2, stop_token_ids=(first,))
    try:
        if is_whole:
            await answer(engine, STORY, params)
        else:
            with pytest.raises(InvalidRequest, match="part of a character"):
                await answer(engine, STORY, params)
    finally:
        await engine.close()


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
