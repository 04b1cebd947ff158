"""A split GGUF file on llama.cpp, from its id to an answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tokenwire.server.contract.engine_settings import ModelFiles, ModelFormat
from tokenwire.server.engines.llama_cpp.launcher import LlamaCppLauncher
from tokenwire.server.engines.llama_cpp.unpacking import unpacked_path

from ....conftest import MODEL_ID
from ...fronts import collect, start_front
from ..gguf_copies import write_copy
from .test_process import SMALL

PARTS = [f"m-0000{part}-of-00003.gguf" for part in (1, 2, 3)]


async def test_split_file(gguf_file: Path, tmp_path: Path) -> None:
    """A model in three parts, named by the first, answers as the whole one does."""
    # The built-in model unpacked, which a first start leaves: packed, it does not know the answer.
    files = ModelFiles(MODEL_ID, ModelFormat.GGUF, gguf_file)
    engine = await LlamaCppLauncher(files, SMALL).launch(lambda _: None)
    num_parameters = engine.info.num_parameters
    await engine.close()
    home = tmp_path / "owner" / "m"
    home.mkdir(parents=True)
    await asyncio.to_thread(write_copy, unpacked_path(gguf_file), home / "m.gguf", num_parts=3)
    assert sorted(path.name for path in home.iterdir()) == PARTS
    async with start_front(
        LLM_ALLOWED_MODELS=f"owner/m:{PARTS[0]}",
        LLM_MODEL_PATH=str(tmp_path),
        LLM_MAX_MODEL_LEN="256",
    ) as client:
        (model,) = (await client.list_models()).values()
        request = client.chat("What is the capital of France?")
        answer = await collect(client.inference.Chat(request))
    assert "Paris" in answer.text
    assert model.num_parameters == num_parameters
