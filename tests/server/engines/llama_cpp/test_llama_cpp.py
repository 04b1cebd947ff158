"""llama.cpp keeps the contract of every engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tokenwire.server.contract.engine import Engine, EngineLauncher
from tokenwire.server.contract.engine_settings import (
    Device,
    EngineSettings,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher

from ....conftest import MODEL_ID
from ..contract import MAX_MODEL_LEN, MAX_RUNNING, EngineContract

SETTINGS = EngineSettings(
    Device.CPU,
    max_running=MAX_RUNNING,
    max_model_len=MAX_MODEL_LEN,
    prefix_caching=True,
    num_threads=1,
)


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
        "stop_token_ids": "llama.cpp stops at strings and at the model's own end tokens only",
    }
