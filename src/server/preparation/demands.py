"""What a model needs of the devices, before anything of it is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ..contract.engine_settings import Device, EngineKind, EngineSettings
from ..contract.model_id import ModelId
from ..engines.sglang.plan.checkpoint import Checkpoint
from ..engines.sglang.plan.memory import CPU_PROCESS_BYTES, FLOAT32_MAX_BYTES, work_bytes
from ..settings.server_config import ServerConfig
from .engine_choice import EngineDecision
from .placement import Demand

_LLAMA_CPP_HOST_BYTES: Final = 256 << 20
_DP_ATTENTION: Final = "--enable-dp-attention"


def find_demand(
    config: ServerConfig,
    decision: EngineDecision,
    checkpoint: Checkpoint,
    settings: EngineSettings,
    *,
    model_id: str,
    num_gpus: int,
) -> Demand:
    """Computes what a model takes of each device, from what was read of its files."""
    weight_bytes = checkpoint.weight_bytes
    sizes: tuple[int, ...] = ()
    fixed_bytes = _LLAMA_CPP_HOST_BYTES
    if decision.device is Device.CUDA:
        sizes = _numbers_of_gpus(config, checkpoint, num_gpus)
        # The steps of SGLang grow with its share, and that is never less than the weights.
        fixed_bytes = work_bytes(replace(settings, memory_bytes=weight_bytes // sizes[0]))
    elif decision.engine is EngineKind.SGLANG:
        fixed_bytes = CPU_PROCESS_BYTES
        if weight_bytes <= FLOAT32_MAX_BYTES:
            weight_bytes *= 2  # 16 bits a weight in the file, 32 in memory
    return Demand(
        model_id,
        decision.device,
        weight_bytes,
        fixed_bytes,
        sizes,
        num_copies=_num_copies(config),
        amount=config.model_memory.get(ModelId.parse(model_id)),
    )


def tensor_parallel_size(config: ServerConfig, num_gpus: int) -> int:
    """Returns into how many parts the layers are cut, for a model that was given `num_gpus`."""
    if config.tp_size is not None:
        return config.tp_size
    return max(1, num_gpus // (config.pp_size * _num_copies(config)))


def _numbers_of_gpus(
    config: ServerConfig, checkpoint: Checkpoint, num_gpus: int
) -> tuple[int, ...]:
    groups = config.pp_size * _num_copies(config)
    if config.tp_size is not None:
        return (max(1, config.tp_size * groups // config.nnodes),)
    sizes = checkpoint.layer.tensor_parallel_sizes(num_gpus // groups)
    return tuple(size * groups for size in sizes) or (groups,)


def _num_copies(config: ServerConfig) -> int:
    # With attention in parallel the copies share the GPUs of one.
    return 1 if _DP_ATTENTION in config.sglang_args else config.dp_size
