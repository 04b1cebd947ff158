"""Settings and files to the arguments of SGLang."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from ...engine_settings import Device, EngineSettings, ModelFiles, ModelFormat

CPU_POOL_TOKENS: Final = 32768
"""Enough for eight requests of 4096 tokens; SGLang would take most of the machine's memory."""

CPU_PREFILL_TOKENS: Final = 512
"""How many prompt tokens one step may take on a CPU: it bounds how long the others wait."""

FLOAT32_MAX_BYTES: Final = 2 << 30
"""Up to this size of its files a model is computed in float32 on a CPU.

In bfloat16 the likeliest tokens of a small model often tie to the last bit, so that greedy, top_p
and min_p pick differently. Measured on SmolLM2-135M: 0.8 of the speed, twice the memory.
"""

CONTEXT_MARGIN: Final = 6
"""SGLang's schedulers refuse prompts closer than this to the context length (`tp_worker.py`)."""


def server_arguments(
    files: ModelFiles,
    settings: EngineSettings,
    *,
    weight_bytes: int,
    max_position: int | None = None,
) -> dict[str, Any]:
    """Spells settings for SGLang's `ServerArgs`.

    `weight_bytes` is the size of the model's files; `max_position` the longest context that the
    model itself knows, where that is known.
    """
    on_cpu = settings.device is Device.CPU
    arguments: dict[str, Any] = {
        "model_path": str(files.path),
        # Requests name ids, and SGLang reads `base:adapter` in a name it does not know.
        "served_model_name": files.model_id,
        "device": settings.device.value,
        "page_size": settings.page_size,
        "disable_radix_cache": not settings.prefix_caching,
        "max_running_requests": settings.max_running,
        # One item per step with the new part alone.
        "incremental_streaming_output": True,
        "stream_interval": 1,
        # Otherwise generation_config.json would mix in.
        "sampling_defaults": "openai",
        # Otherwise an engine with nothing to do keeps a core busy.
        "sleep_on_idle": True,
        # Otherwise the count of running requests is up to 15 steps old.
        "load_snapshot_publish_interval": 1,
        # Below this the reason of a failed start is not told.
        "log_level": "warning",
    }
    if files.tokenizer is not None:
        arguments["tokenizer_path"] = str(files.tokenizer)
    context_length = _context_length(settings.max_model_len, max_position)
    if context_length is not None:
        arguments["context_length"] = context_length
    if on_cpu:
        arguments |= {
            "dtype": "float32" if weight_bytes <= FLOAT32_MAX_BYTES else "bfloat16",
            "max_total_tokens": _round_up(
                max(CPU_POOL_TOKENS, settings.kv_pool_tokens or 0), settings.page_size
            ),
            "chunked_prefill_size": _round_up(CPU_PREFILL_TOKENS, settings.page_size),
            "watchdog_timeout": 600,
        }
    else:
        if settings.kv_pool_tokens is not None:
            arguments["max_total_tokens"] = _round_up(settings.kv_pool_tokens, settings.page_size)
        if settings.fp8_kv_cache:
            arguments["kv_cache_dtype"] = "fp8_e4m3"
        if files.format is ModelFormat.GGUF:
            arguments |= {"load_format": "gguf", "quantization": "gguf"}
    return arguments


def count_weight_bytes(path: Path) -> int:
    """Adds up the sizes of a model's weight files: of one file, or of a folder of safetensors."""
    files = path.glob("*.safetensors") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def read_max_position(folder: Path) -> int | None:
    """Reads the longest context from `config.json`; None where it is not told."""
    try:
        config: Any = json.loads((folder / "config.json").read_bytes())  # any JSON
    except (OSError, ValueError):
        return None
    for part in (config, config.get("text_config")):
        value = part.get("max_position_embeddings") if part else None
        if isinstance(value, int) and value > 0:
            return value
    return None


def _context_length(max_model_len: int | None, max_position: int | None) -> int | None:
    """Asks for a little more than wanted, which SGLang takes off again, never above the model's."""
    if max_model_len is None:
        return None
    wanted = max_model_len + CONTEXT_MARGIN
    return wanted if max_position is None else min(wanted, max_position)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
