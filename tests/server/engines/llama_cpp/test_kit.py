"""llama.cpp as the preparation of models knows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.server.contract.engine_settings import (
    Device,
    EngineSettings,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.contract.model_id import ModelId
from tokenwire.server.engines.kit import Demand, NoEngine
from tokenwire.server.engines.llama_cpp.kit import LlamaCppKit, LlamaCppPlan

SETTINGS = EngineSettings(Device.CPU, max_running=4)


def test_only_gguf_files_are_run() -> None:
    """On a CPU, whether there is a GPU or not; it comes first where there is none."""
    kit, model = LlamaCppKit(), ModelId.parse("o/r:f.gguf")
    alone, beside_gpu = kit.offer(model, uses_gpu=False), kit.offer(model, uses_gpu=True)
    assert (alone.device, beside_gpu.device) == (Device.CPU, Device.CPU)
    assert alone.rank < beside_gpu.rank
    with pytest.raises(NoEngine, match="reads GGUF files only"):
        kit.offer(ModelId.parse("o/r"), uses_gpu=False)


def test_all_parts_are_counted(tmp_path: Path) -> None:
    """The demand is that of the whole file, its buffers apart."""
    names = [f"m-0000{part}-of-00002.gguf" for part in (1, 2)]
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 100)
    files = ModelFiles("o/r:m.gguf", ModelFormat.GGUF, tmp_path / names[0])
    plan = LlamaCppPlan(files, SETTINGS)
    assert plan.demand(num_gpus=8) == Demand("o/r:m.gguf", Device.CPU, 200, 256 << 20)
