"""What the files of a checkpoint tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenwire.server.contract.engine_settings import ModelFiles, ModelFormat
from tokenwire.server.engines.sglang.plan.checkpoint import read_checkpoint
from tokenwire.server.engines.sglang.plan.tensor_parallel import LayerShape


@pytest.mark.parametrize("wrap", [lambda config: config, lambda config: {"text_config": config}])
def test_the_shape_is_read_from_the_configuration(tmp_path: Path, wrap: Any) -> None:
    """Of a text model, and of the text part of a vision model."""
    config = {"num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336}
    (tmp_path / "config.json").write_text(json.dumps(wrap(config)))
    files = ModelFiles("a/b", ModelFormat.SAFETENSORS, tmp_path)
    assert read_checkpoint(files).layer == LayerShape(32, 8, 14336)


def test_the_shape_is_read_from_a_gguf_file(gguf_file: Path) -> None:
    """SmolLM2 has 9 heads, 3 KV heads and a width of 1,536."""
    files = ModelFiles("a/b", ModelFormat.GGUF, gguf_file)
    assert read_checkpoint(files).layer == LayerShape(9, 3, 1536)
