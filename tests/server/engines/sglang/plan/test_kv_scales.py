"""Whether there are scales for an FP8 KV cache."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenwire.server.engines.sglang.plan.checkpoint import Checkpoint, read_checkpoint
from tokenwire.server.engines.sglang.plan.kv_scales import find_scales_defect, has_scales

from .checkpoints import ON_GPU, model, notices_of, refusal_of


@pytest.mark.parametrize(
    ("name", "quantization", "found"),
    [
        ("model.layers.0.self_attn.k_scale", "fp8", True),
        ("model.layers.0.self_attn.kv_scale", "fp8", True),
        ("model.layers.0.self_attn.k_proj.k_scale", "modelopt_fp8", True),
        ("model.layers.0.self_attn.attn.v_scale", "compressed-tensors", True),
        ("model.layers.0.self_attn.v_proj.output_scale", "quark", True),
        ("model.layers.0.self_attn.k_proj.weight_scale", "fp8", False),
        # SGLang makes no place for them in such a model.
        ("model.layers.0.self_attn.k_scale", "gptq", False),
    ],
)
def test_scales_in_checkpoint(tmp_path: Path, name: str, quantization: str, found: bool) -> None:
    """Scales are found by the names that SGLang knows, where it would load them."""
    files = model(tmp_path, ("w", name), quantization_config={"quant_method": quantization})
    assert has_scales(files.path, None, read_checkpoint(files)) is found
    # Of a checkpoint in several files any may hold them.
    (files.path / "model.safetensors").rename(files.path / "model-00002-of-00002.safetensors")
    model(files.path, quantization_config={"quant_method": quantization})
    assert has_scales(files.path, None, read_checkpoint(files)) is found


def scales(**changes: Any) -> dict[str, Any]:
    factors = {"0": {"0": 0.5, "1": 0.25}}
    return {"dtype": "float8_e4m3fn", "scaling_factor": factors} | changes


def test_file_of_scales_for_a_foreign_architecture(tmp_path: Path) -> None:
    """Where SGLang's class takes no file of scales, that is said before it fails to start."""
    defect = find_scales_defect(tmp_path / "s.json", Checkpoint("Gemma2ForCausalLM"), 1)
    assert defect is not None
    assert "Gemma2ForCausalLM" in defect


@pytest.mark.parametrize(
    ("cache", "defect"),
    [
        (scales(), None),
        (scales(dtype="float8_e5m2"), "its dtype is float8_e5m2"),
        (scales(scaling_factor={"0": {"0": 1.0}}), "scales for 1 layers"),
        (scales(scaling_factor={"0": {}, "1": {}}), "scales for 2 GPUs"),
        (scales(scaling_factor=[1.0]), "it is not of the form"),
        ({}, "it is not of the form"),
    ],
)
def test_file_of_scales(tmp_path: Path, cache: dict[str, Any], defect: str | None) -> None:
    """A file of scales that SGLang would pass over, computing with 1.0, is refused."""
    file = tmp_path / "scales.json"
    file.write_text(json.dumps({"model_type": "llama", "kv_cache": cache}))
    settings = replace(ON_GPU, fp8_kv_cache=True, kv_cache_scales=file)
    refusal = refusal_of(model(tmp_path / "model"), settings)
    if defect is None:
        assert refusal is None
        assert notices_of(model(tmp_path / "model"), settings) == []
    else:
        assert refusal is not None
        assert refusal.startswith("the file 'scales.json' of LLM_KV_CACHE_SCALES is of no use: ")
        assert defect in refusal
