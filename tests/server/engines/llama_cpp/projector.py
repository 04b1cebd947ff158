"""A tiny projector for llama.cpp: the eye of LLaVA, with weights drawn at random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy

IMAGE_SIDE = 32
PATCH_SIDE = 8
NUM_IMAGE_TOKENS = (IMAGE_SIDE // PATCH_SIDE) ** 2
_WIDTH = 32
_EMBEDDING = 576
"""That of SmolLM2, whose eye it is to be."""


def write_projector(path: Path) -> Path:
    """Writes the file; what it makes of an image has nothing to do with what is on it."""
    writer: Any = gguf.GGUFWriter(path, "clip")
    writer.add_string("general.type", "mmproj")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", True)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    for name, value in (
        ("image_size", IMAGE_SIDE),
        ("patch_size", PATCH_SIDE),
        ("embedding_length", _WIDTH),
        ("feed_forward_length", 2 * _WIDTH),
        ("projection_dim", _EMBEDDING),
        ("attention.head_count", 2),
        ("block_count", 1),
    ):
        writer.add_uint32(f"clip.vision.{name}", value)
    for name in ("image_mean", "image_std"):
        writer.add_array(f"clip.vision.{name}", [0.5, 0.5, 0.5])
    random = numpy.random.default_rng(0)
    for name, shape in _shapes().items():
        writer.add_tensor(name, (random.standard_normal(shape) * 0.3).astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shapes() -> dict[str, tuple[int, ...]]:
    square = (_WIDTH, _WIDTH)
    weights: dict[str, tuple[int, ...]] = {
        "v.blk.0.ffn_up": (2 * _WIDTH, _WIDTH),
        "v.blk.0.ffn_down": (_WIDTH, 2 * _WIDTH),
        "mm.0": (_EMBEDDING, _WIDTH),
        "mm.2": (_EMBEDDING, _EMBEDDING),
    }
    weights |= {f"v.blk.0.attn_{name}": square for name in ("q", "k", "v", "out")}
    norms = dict.fromkeys(("v.pre_ln", "v.blk.0.ln1", "v.blk.0.ln2"), (_WIDTH,))
    shapes: dict[str, tuple[int, ...]] = {
        "v.class_embd": (_WIDTH,),
        "v.patch_embd.weight": (_WIDTH, 3, PATCH_SIDE, PATCH_SIDE),
        "v.position_embd.weight": (NUM_IMAGE_TOKENS + 1, _WIDTH),
    }
    for name, shape in (weights | norms).items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes
