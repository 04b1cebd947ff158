"""What is put beside a GGUF file, or in its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenwire.server.contract.engine_settings import (
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.engines.sglang.front.converted import provide_described
from tokenwire.server.engines.sglang.plan.checkpoint import read_checkpoint
from tokenwire.server.engines.sglang.plan.gguf_architectures import (
    LOADABLE,
    read_overrides,
)


def is_link_to(link: Path, file: Path) -> bool:
    return link.is_symlink() and link.samefile(file)


def gguf_files(path: Path) -> ModelFiles:
    return ModelFiles("owner/model:file.gguf", ModelFormat.GGUF, path)


async def test_file_is_described(
    gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file gets a folder with its tokenizer and a configuration that SGLang computes right with.

    Without `rope_is_neox_style` SGLang answers nonsense for the Llama family.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    files = gguf_files(gguf_file)
    overrides = LOADABLE[read_checkpoint(files).architecture]
    steps: list[str] = []
    described = await provide_described(files, overrides, lambda p: steps.append(p.step))
    assert is_link_to(described.path, gguf_file)
    folder = described.path.parent
    assert described.tokenizer == folder
    assert (folder / "tokenizer.json").is_file()
    config = json.loads((folder / "config.json").read_bytes())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert read_overrides(folder)["rope_is_neox_style"] is False
    # The second time nothing is made.
    steps.clear()
    assert await provide_described(files, overrides, lambda p: steps.append(p.step)) == described
    assert len(steps) == 1
