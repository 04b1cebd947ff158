"""Settings and files to the arguments of SGLang."""

from __future__ import annotations

from typing import Any, Final

from ....contract.engine_settings import Device, ModelFiles, ModelFormat
from ..settings import VARIABLES, SglangSettings
from .checkpoint import Checkpoint
from .memory import context_length, cpu_dtype, memory_fraction, pool_tokens, prefill_tokens
from .weight_quantization import WeightQuantization

NO_MEDIA_DOMAIN: Final = "none.invalid"
"""A name that cannot exist (RFC 2606). An empty list would let SGLang fetch from anywhere."""

MAX_LORAS_PER_BATCH: Final = 8
"""SGLang's own limit, the model without an adapter counted."""

CPU_WATCHDOG_S: Final = 600
"""SGLang ends itself where one step takes longer; on a busy CPU its own 300 s are not far away."""

GPU_QUANTIZATION: Final[dict[WeightQuantization, dict[str, Any]]] = {
    WeightQuantization.FP8: {"quantization": "fp8"},
    WeightQuantization.BITSANDBYTES: {
        "quantization": "bitsandbytes",
        "load_format": "bitsandbytes",
    },
}


def server_arguments(
    files: ModelFiles,
    settings: SglangSettings,
    checkpoint: Checkpoint,
    *,
    quantization: WeightQuantization = WeightQuantization.NONE,
    free_bytes: int | None = None,
) -> dict[str, Any]:
    """Spells settings for SGLang's `ServerArgs`.

    `free_bytes` is what is free on the device before the start, on the one with the least.
    """
    arguments = _always(files, settings)
    if files.tokenizer is not None:
        arguments["tokenizer_path"] = str(files.tokenizer)
    if settings.device is Device.CPU:
        arguments |= {"dtype": cpu_dtype(checkpoint), "watchdog_timeout": CPU_WATCHDOG_S}
    else:
        arguments |= _on_gpu(files, settings)
        arguments |= GPU_QUANTIZATION.get(quantization, {})
        arguments |= _known(mem_fraction_static=memory_fraction(settings, free_bytes))
    return arguments | _known(
        context_length=context_length(settings, checkpoint),
        max_total_tokens=pool_tokens(settings, checkpoint, free_bytes),
        chunked_prefill_size=prefill_tokens(settings),
        schedule_policy=settings.schedule_policy,
    )


def _always(files: ModelFiles, settings: SglangSettings) -> dict[str, Any]:
    return {
        "model_path": str(files.path),
        # Only SGLang's own chat code sees it, which reads `base:adapter` where there is a colon.
        "served_model_name": files.model_id.replace(":", "/"),
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
        # Into files of the host's own folder; the front asks for them when it is scraped.
        "enable_metrics": True,
        # What constraints are checked with before they come here.
        "grammar_backend": "llguidance",
        # Below this the reason of a failed start is not told.
        "log_level": "warning",
        # Prompts are text. Should an address of a picture ever get there, it is not fetched.
        "allowed_media_domains": [NO_MEDIA_DOMAIN],
        "media_url_max_file_size_mb": 1,
    }


def _on_gpu(files: ModelFiles, settings: SglangSettings) -> dict[str, Any]:
    draft = settings.speculative_draft_model_path
    arguments = {name: getattr(settings, name) for name in VARIABLES}
    # Some only mean something beside another.
    if not settings.speculative_algorithm:
        arguments = {name: arguments[name] for name in arguments if "speculative" not in name}
    elif draft is not None:
        arguments["speculative_draft_model_path"] = str(draft)
    if settings.lora_adapters:
        arguments |= _lora(settings)
    else:
        del arguments["max_lora_rank"]
    if settings.fp8_kv_cache:
        arguments["kv_cache_dtype"] = "fp8_e4m3"
        if settings.kv_cache_scales is not None:
            arguments["quantization_param_path"] = str(settings.kv_cache_scales)
    if files.format is ModelFormat.GGUF:
        arguments |= {"load_format": "gguf", "quantization": "gguf"}
    return _known(**arguments)


def _lora(settings: SglangSettings) -> dict[str, Any]:
    return {
        "enable_lora": True,
        "lora_paths": {name: str(folder) for name, folder in settings.lora_adapters.items()},
        "max_loras_per_batch": min(MAX_LORAS_PER_BATCH, len(settings.lora_adapters) + 1),
    }


def _known(**arguments: Any) -> dict[str, Any]:
    """Leaves to SGLang what is not set."""
    return {name: value for name, value in arguments.items() if value not in (None, "")}
