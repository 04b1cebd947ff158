"""Scales of an FP8 KV cache: whether there are any, and whether a file of them is good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from ....files.formats.safetensors_file import MalformedSafetensors, read_tensor_shapes
from .checkpoint import Checkpoint
from .model_classes import class_defines

SCALE_SUFFIXES: Final = (
    ".k_scale",
    ".v_scale",
    ".kv_scale",
    ".k_proj.output_scale",
    ".v_proj.output_scale",
)
"""Names of scales in checkpoints, as SGLang knows them (`maybe_remap_kv_scale_name`)."""

QUANTIZATIONS_WITH_SCALES: Final = ("fp8", "compressed-tensors", "modelopt", "quark")
"""Methods whose attention layers take scales from the checkpoint: those with a `…KVCacheMethod`.

With any other, SGLang drops the scales of a checkpoint without a word. `modelopt` also begins the
names of its kinds.
"""


def has_scales(folder: Path, scales_file: Path | None, checkpoint: Checkpoint) -> bool:
    """Returns whether an FP8 KV cache would have scales other than 1.0.

    Takes a file of scales as given, or else reads the names of the tensors of `folder`.
    """
    if scales_file is not None:
        return True  # that it is good was checked before the start
    if not checkpoint.quantization.startswith(QUANTIZATIONS_WITH_SCALES) or not folder.is_dir():
        return False
    try:
        return any(
            name.endswith(SCALE_SUFFIXES)
            for file in folder.glob("*.safetensors")
            for name in read_tensor_shapes(file)
        )
    except MalformedSafetensors:
        return False  # told where the model's files are looked at


def find_scales_defect(scales_file: Path, checkpoint: Checkpoint, tp_size: int) -> str | None:
    """Returns what is wrong with a file of scales, None where nothing is.

    SGLang would only log it, and compute with 1.0. The format is its `QuantParamSchema`.
    """
    architecture = checkpoint.architecture
    if not class_defines(architecture, "load_kv_cache_scales"):
        return f"SGLang takes no file of scales for {architecture or 'this architecture'}"
    try:
        content: Any = json.loads(scales_file.read_bytes())  # any JSON
        cache = content["kv_cache"]
        dtype, ranks = cache["dtype"], cache["scaling_factor"]
        layers = [
            {int(layer): float(scale) for layer, scale in rank.items()} for rank in _by_rank(ranks)
        ]
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return 'it is not of the form {"model_type", "kv_cache": {"dtype", "scaling_factor"}}'
    if dtype != "float8_e4m3fn":
        return f"its dtype is {dtype}, and the cache's is float8_e4m3fn"
    if len(layers) != tp_size:
        return f"it has scales for {len(layers)} GPUs, and LLM_TP_SIZE is {tp_size}"
    wanted = checkpoint.num_layers
    for rank, scales in enumerate(layers):
        if wanted is not None and scales.keys() != set(range(wanted)):
            return f"it has scales for {len(scales)} layers of GPU {rank}, the model has {wanted}"
    return None


def _by_rank(ranks: dict[str, dict[str, float]]) -> list[dict[str, float]]:
    return [ranks[str(rank)] for rank in range(len(ranks))]
