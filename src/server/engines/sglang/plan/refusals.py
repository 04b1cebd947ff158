"""What cannot run as it is configured: refused before the start, or told."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Final

from ....contract.engine_settings import Device, ModelFiles, ModelFormat
from ..settings import VARIABLES, SglangSettings
from ..versions import installed_version
from .architecture_limits import find_architecture_notice, find_architecture_refusal
from .checkpoint import Checkpoint
from .gguf_architectures import find_gguf_obstacle
from .kv_scales import find_scales_defect, has_scales
from .memory import page_size, prefill_tokens
from .weight_quantization import QuantizationChoice, choose_quantization

NEEDS_DRAFT: Final = frozenset({"EAGLE3", "STANDALONE", "DFLASH", "DSPARK"})
"""Algorithms that draft with a model of their own. EAGLE, as NEXTN, may draft with layers of the
model itself, and NGRAM with what was already said."""

CPU_BACKENDS: Final = ("torch_native", "intel_amx")


def find_refusal(files: ModelFiles, settings: SglangSettings, checkpoint: Checkpoint) -> str | None:
    """Returns why SGLang cannot run the model as it is configured, naming the variable at fault."""
    refusal = find_architecture_refusal(checkpoint.architecture, settings.device)
    if refusal is not None:
        return f"SGLang cannot run '{files.model_id}': {refusal}"
    if settings.device is Device.CPU:
        return _find_cpu_refusal(files, settings, checkpoint)
    return _find_gpu_refusal(files, settings, checkpoint)


def find_notices(files: ModelFiles, settings: SglangSettings, checkpoint: Checkpoint) -> list[str]:
    """Says, one sentence each, what becomes of settings that are not followed to the letter."""
    notices = [
        decide_quantization(files, settings, checkpoint).notice,
        find_architecture_notice(checkpoint.architecture, settings.device),
    ]
    version = installed_version()
    pages = page_size(settings, version)
    if pages != settings.page_size:
        why = (
            f"SGLang {version} has no larger pages on a CPU"
            if settings.device is Device.CPU
            else "speculative decoding with NGRAM has no larger pages"
        )
        notices.append(
            f"LLM_PAGED_ATTENTION_BLOCK_SIZE={settings.page_size} becomes {pages}: {why}"
        )
        settings = replace(settings, page_size=pages)
    asked = settings.chunked_prefill_size
    taken = prefill_tokens(settings)
    if asked is not None and taken != asked:
        notices.append(
            f"LLM_CHUNKED_PREFILL_SIZE={asked} becomes {taken}, a multiple of the page size "
            f"{settings.page_size} (LLM_PAGED_ATTENTION_BLOCK_SIZE)"
        )
    backend = settings.attention_backend
    if settings.device is Device.CPU and backend and backend not in CPU_BACKENDS:
        notices.append(
            f"LLM_ATTENTION_BACKEND={backend} needs a GPU; on a CPU SGLang chooses its own"
        )
    notices += _fp8_notices(files, settings, checkpoint)
    longest = checkpoint.max_position
    if settings.max_model_len is not None and longest and settings.max_model_len > longest:
        notices.append(
            f"LLM_MAX_MODEL_LEN={settings.max_model_len} becomes {longest}, the longest context "
            "that the model knows"
        )
    return [notice for notice in notices if notice]


def decide_quantization(
    files: ModelFiles, settings: SglangSettings, checkpoint: Checkpoint
) -> QuantizationChoice:
    """Decides what in-situ quantisation becomes for this model on this machine."""
    if files.format is ModelFormat.GGUF and settings.device is Device.CPU:
        # It is converted to 16 bits before SGLang sees it.
        checkpoint = replace(checkpoint, quantization="")
    return choose_quantization(
        settings.isq,
        settings.device,
        checkpoint,
        has_bitsandbytes=importlib.util.find_spec("bitsandbytes") is not None,
    )


def _find_cpu_refusal(
    files: ModelFiles, settings: SglangSettings, checkpoint: Checkpoint
) -> str | None:
    if settings.speculative_algorithm:
        return (
            f"LLM_SPECULATIVE_ALGORITHM={settings.speculative_algorithm} needs a GPU, and this "
            "model runs on a CPU: unset it"
        )
    for name in ("tp_size", "pp_size", "dp_size", "ep_size", "nnodes"):
        size = getattr(settings, name) or 1
        if size > 1:
            return f"{VARIABLES[name]}={size} needs GPUs, and this model runs on a CPU: set it to 1"
    if checkpoint.quantization and files.format is not ModelFormat.GGUF:
        return (
            f"the weights of '{files.model_id}' are quantised with {checkpoint.quantization}, "
            "which SGLang runs on a GPU only: use a checkpoint of 16 bits (with LLM_ENABLE_ISQ it "
            "is quantised while it loads), or a GGUF file"
        )
    return None


def _find_gpu_refusal(
    files: ModelFiles, settings: SglangSettings, checkpoint: Checkpoint
) -> str | None:
    if files.format is ModelFormat.GGUF:
        obstacle = find_gguf_obstacle(files, checkpoint)
        if obstacle is not None:
            return f"{obstacle}: use LLM_ENGINE=llamacpp"
    algorithm = settings.speculative_algorithm.upper()
    if algorithm in NEEDS_DRAFT and settings.speculative_draft_model_path is None:
        return f"LLM_SPECULATIVE_ALGORITHM={algorithm} needs LLM_SPECULATIVE_DRAFT_MODEL"
    if settings.fp8_kv_cache and settings.kv_cache_scales is not None:
        defect = find_scales_defect(settings.kv_cache_scales, checkpoint, settings.tp_size or 1)
        if defect is not None:
            name = settings.kv_cache_scales.name
            return f"the file '{name}' of LLM_KV_CACHE_SCALES is of no use: {defect}"
    return None


def _fp8_notices(files: ModelFiles, settings: SglangSettings, checkpoint: Checkpoint) -> list[str]:
    if settings.device is Device.CPU or not settings.fp8_kv_cache:
        if settings.kv_cache_scales is None:
            return []
        return ["LLM_KV_CACHE_SCALES means something for an FP8 KV cache on a GPU only"]
    if has_scales(files.path, settings.kv_cache_scales, checkpoint):
        return []
    return [
        "the KV cache is in FP8 and there are no scales for it, neither in the checkpoint nor in "
        "LLM_KV_CACHE_SCALES: it is computed with 1.0, and answers may be less accurate"
    ]
