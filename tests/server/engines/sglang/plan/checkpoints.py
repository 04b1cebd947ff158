"""Checkpoints that tests write, and settings to run them with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenwire.server.contract.engine_settings import (
    Device,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.engines.sglang.plan.checkpoint import Checkpoint, read_checkpoint
from tokenwire.server.engines.sglang.plan.refusals import find_notices, find_refusal
from tokenwire.server.engines.sglang.settings import SglangSettings

# Older versions have no larger pages there, which is told.
ON_CPU = SglangSettings(Device.CPU, max_running=4, page_size=1)


ON_GPU = SglangSettings(Device.CUDA, max_running=4)


LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "max_position_embeddings": 8192,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "hidden_size": 64,
}


PLAIN = Checkpoint("LlamaForCausalLM")


def model(folder: Path, tensors: tuple[str, ...] = ("w",), **config: Any) -> ModelFiles:
    """Writes a folder with a configuration, and a file of empty tensors of these names."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(LLAMA | config))
    header = json.dumps(
        {name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in tensors}
    ).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return ModelFiles("owner/model", ModelFormat.SAFETENSORS, folder)


def options(settings: SglangSettings, **values: Any) -> SglangSettings:
    return replace(settings, **values)


def refusal_of(files: ModelFiles, settings: SglangSettings) -> str | None:
    return find_refusal(files, settings, read_checkpoint(files))


def notices_of(files: ModelFiles, settings: SglangSettings) -> list[str]:
    return find_notices(files, settings, read_checkpoint(files))
