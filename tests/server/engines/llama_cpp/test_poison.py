"""What llama.cpp is kept from, by a front before it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from tokenwire.server.contract.engine_settings import ModelFiles, ModelFormat
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher

from ....conftest import MODEL_ID
from ...fronts import Client, failure_of, start_front
from ...lent_engine import LentEngine
from ...poison import STOP_IDS, Poison
from .launching import SETTINGS


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lent(gguf_file: Path) -> AsyncIterator[LentEngine]:
    files = ModelFiles(MODEL_ID, ModelFormat.GGUF, gguf_file)
    settings = replace(SETTINGS, max_running=8, max_model_len=512)
    engine = await LlamaCppLauncher(files, settings).launch(lambda _: None)
    yield LentEngine(engine)
    await engine.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(lent: LentEngine) -> AsyncIterator[Client]:
    async with start_front(lent.prepare, LLM_ALLOWED_MODELS=MODEL_ID) as client:
        yield client


class TestPoisonOnLlamaCpp(Poison):
    """llama.cpp takes what is no number without a word: none of it comes to it."""

    @pytest.mark.parametrize("name", STOP_IDS)
    async def test_stop_ids_are_refused(self, client: Client, lent: LentEngine, name: str) -> None:
        """Stop ids, which llama.cpp would ignore, are refused whatever they are."""
        make, field = STOP_IDS[name]
        failure = await failure_of(client.inference.Generate(make(client, lent.info.vocab_size)))
        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
        assert failure.fields == [field]
