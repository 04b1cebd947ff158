"""What a launcher does before it starts a process."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.server.contract.engine_settings import (
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.contract.errors import ModelLoadFailed

from ..fixtures import launcher_for
from ..plan.checkpoints import ON_CPU, ON_GPU, model, options, refusal_of


async def test_launcher_refuses(tmp_path: Path) -> None:
    """A refusal comes at once, with no process started."""
    launcher = launcher_for(model(tmp_path), options(ON_CPU, tp_size=2))
    with pytest.raises(ModelLoadFailed, match="LLM_TP_SIZE=2"):
        await launcher.launch(lambda _: None)


def gguf_files(path: Path) -> ModelFiles:
    return ModelFiles("owner/model:file.gguf", ModelFormat.GGUF, path)


async def test_launcher_refuses_what_sglang_cannot_read(gguf_file: Path, tmp_path: Path) -> None:
    """A file in parts is refused before a process is started, with what to do."""
    first = tmp_path / "m-00001-of-00002.gguf"
    first.symlink_to(gguf_file)
    first.with_name("m-00002-of-00002.gguf").symlink_to(gguf_file)
    assert refusal_of(gguf_files(gguf_file), ON_GPU) is None
    with pytest.raises(ModelLoadFailed, match="one part only: use LLM_ENGINE=llamacpp"):
        await launcher_for(gguf_files(first), ON_GPU).launch(lambda _: None)
