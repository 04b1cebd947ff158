"""SGLang as the preparation of models knows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenwire.server.contract.engine_settings import Device, ModelFiles, ModelFormat
from tokenwire.server.contract.model_id import ModelId
from tokenwire.server.engines.kit import NoEngine, Placement
from tokenwire.server.engines.sglang.kit import SglangKit, SglangPlan
from tokenwire.server.engines.sglang.plan.checkpoint import Checkpoint
from tokenwire.server.engines.sglang.plan.tensor_parallel import LayerShape
from tokenwire.server.engines.sglang.settings import SglangSettings

GIB = 1 << 30
FILES = ModelFiles("owner/model", ModelFormat.SAFETENSORS, Path("/models/one"))
LLAMA = Checkpoint("LlamaForCausalLM", weight_bytes=15 * GIB, layer=LayerShape(32, 8, 14336))


def plan_with(device: Device = Device.CUDA, **values: Any) -> SglangPlan:
    return SglangPlan(FILES, SglangSettings(device, max_running=4, **values), LLAMA)


def test_gguf_files_need_a_gpu() -> None:
    """Safetensors run everywhere."""
    kit, gguf = SglangKit(), ModelId.parse("o/r:f.gguf")
    assert kit.offer(ModelId.parse("o/r"), uses_gpu=False).device is Device.CPU
    assert kit.offer(gguf, uses_gpu=True).device is Device.CUDA
    with pytest.raises(NoEngine, match="LLM_ENGINE=llamacpp"):
        kit.offer(gguf, uses_gpu=False)


@pytest.mark.parametrize(
    ("values", "sizes", "num_copies"),
    [
        ({}, (1, 2, 4, 8), 1),
        ({"pp_size": 2}, (2, 4, 8), 1),
        ({"dp_size": 2}, (2, 4, 8), 2),
        ({"dp_size": 2, "extra_args": ("--enable-dp-attention",)}, (1, 2, 4, 8), 1),
        ({"tp_size": 4, "dp_size": 2}, (8,), 2),
        ({"tp_size": 16, "nnodes": 2}, (8,), 1),
    ],
)
def test_numbers_of_gpus(values: dict[str, Any], sizes: tuple[int, ...], num_copies: int) -> None:
    """Those that divide the layers, times the copies and the groups; one where it is set."""
    demand = plan_with(**values).demand(num_gpus=8)
    assert (demand.sizes, demand.num_copies) == (sizes, num_copies)


def test_small_model_takes_twice_its_file_on_a_cpu() -> None:
    """It is computed in float32; a large one in the 16 bits of the file."""
    plan = plan_with(Device.CPU)
    assert plan.demand(num_gpus=0).weight_bytes == 15 * GIB
    small = replace(plan, checkpoint=Checkpoint("LlamaForCausalLM", weight_bytes=GIB))
    assert small.demand(num_gpus=0).weight_bytes == 2 * GIB
    assert small.demand(num_gpus=0).sizes == ()


@pytest.mark.parametrize(
    ("values", "tp_size"), [({}, 4), ({"pp_size": 2}, 2), ({"tp_size": 2, "dp_size": 2}, 2)]
)
def test_layers_are_cut_for_the_gpus_given(values: dict[str, Any], tp_size: int) -> None:
    """LLM_TP_SIZE=auto follows the place; a number is kept."""
    settings = plan_with(**values).settings_at(Placement(("0", "1", "2", "3"), GIB))
    assert (settings.tp_size, settings.memory_bytes) == (tp_size, GIB)
    assert settings.gpu_ids == ("0", "1", "2", "3")


def test_only_gguf_files_on_a_gpu_have_an_obstacle() -> None:
    """An architecture that SGLang cannot load from GGUF may run on another engine."""
    files = replace(FILES, format=ModelFormat.GGUF, path=Path("/models/one.gguf"))
    gguf = replace(plan_with(), files=files, checkpoint=Checkpoint("gemma2"))
    assert "'gemma2'" in (gguf.obstacle or "")
    assert replace(gguf, files=FILES).obstacle is None
    assert replace(gguf, settings=plan_with(Device.CPU).settings).obstacle is None
