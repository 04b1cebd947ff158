"""What an engine is started with: the files of a model, and how to run it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .isq_type import IsqType


class EngineKind(enum.Enum):
    """The engines there are. The value is also the name of the package's extra."""

    SGLANG = "sglang"
    LLAMACPP = "llamacpp"


class ModelFormat(enum.Enum):
    """How a model's weights are stored."""

    GGUF = "gguf"
    SAFETENSORS = "safetensors"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where one model lies on this machine.

    `path` is the `.gguf` file (the first of a split file) or the folder with `config.json`.
    `tokenizer` is the folder of a tokenizer that the id names beside the weights.
    """

    model_id: str
    format: ModelFormat
    path: Path
    revision: str = ""
    tokenizer: Path | None = None


class Device(enum.Enum):
    """What an engine computes on."""

    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True, slots=True)
class SglangOptions:
    """What only SGLang can do; the names are those of its own arguments.

    `speculative_draft_model` is a folder. `extra_args` are words of its command line, checked
    against its own list when it starts. None and empty: SGLang decides.
    """

    tp_size: int = 1
    dp_size: int = 1
    pp_size: int = 1
    ep_size: int = 1
    nnodes: int = 1
    node_rank: int = 0
    dist_init_addr: str = ""
    attention_backend: str = ""
    chunked_prefill_size: int | None = None
    schedule_policy: str = ""
    speculative_algorithm: str = ""
    speculative_draft_model: Path | None = None
    speculative_num_steps: int | None = None
    speculative_eagle_topk: int | None = None
    speculative_num_draft_tokens: int | None = None
    extra_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The configuration of an engine, the same for every kind of engine.

    `max_running` requests run at once. `max_model_len` limits prompt and answer of one request;
    None: as long as the model and the memory allow. `kv_pool_tokens` is the size asked for the KV
    cache; None: sized from memory. `num_threads` None: chosen from the CPUs of this process.

    `memory_bytes` is what weights, KV cache and work may take together on each device; None: what
    is free. `gpu_ids` are the GPUs to use, as `CUDA_VISIBLE_DEVICES` names them; empty: those that
    are visible. `isq` is what the weights are quantised to while they load. `kv_cache_scales` is a
    file with scales for an FP8 KV cache, in SGLang's own format. `lora_adapters` are folders by
    name.
    """

    device: Device
    max_running: int
    max_model_len: int | None = None
    kv_pool_tokens: int | None = None
    prefix_caching: bool = False
    page_size: int = 32
    fp8_kv_cache: bool = False
    num_threads: int | None = None
    load_timeout_s: float = 1800.0
    memory_bytes: int | None = None
    gpu_ids: tuple[str, ...] = ()
    isq: IsqType | None = None
    kv_cache_scales: Path | None = None
    lora_adapters: Mapping[str, Path] = field(default_factory=dict[str, Path])
    max_lora_rank: int | None = None
    sglang: SglangOptions = SglangOptions()
