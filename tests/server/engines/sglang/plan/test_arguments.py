"""Settings, sampling values and files as SGLang spells them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenwire.server.contract.engine_settings import (
    Device,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.engines.sglang.plan.arguments import NO_MEDIA_DOMAIN, server_arguments
from tokenwire.server.engines.sglang.plan.checkpoint import Checkpoint
from tokenwire.server.engines.sglang.plan.memory import FLOAT32_MAX_BYTES
from tokenwire.server.engines.sglang.plan.weight_quantization import WeightQuantization
from tokenwire.server.engines.sglang.settings import SglangSettings

FILES = ModelFiles("owner/model:with-colon", ModelFormat.SAFETENSORS, Path("/models/one"))
ON_CPU = SglangSettings(Device.CPU, max_running=4)
ON_GPU = SglangSettings(Device.CUDA, max_running=4)
LLAMA = Checkpoint("LlamaForCausalLM", max_position=8192, weight_bytes=1 << 30)


def spell(
    settings: SglangSettings,
    checkpoint: Checkpoint = LLAMA,
    quantization: WeightQuantization = WeightQuantization.NONE,
) -> dict[str, Any]:
    return server_arguments(FILES, settings, checkpoint, quantization=quantization)


def with_options(settings: SglangSettings, **options: Any) -> SglangSettings:
    return replace(settings, **options)


def test_served_name_has_no_colon() -> None:
    """SGLang refuses a name with a colon, behind which it would read an adapter."""
    arguments = spell(ON_CPU)
    assert arguments["served_model_name"] == "owner/model/with-colon"
    assert arguments["model_path"] == "/models/one"


def test_nothing_is_fetched_for_a_prompt() -> None:
    """SGLang may fetch media from no domain at all; an empty list would mean from any."""
    assert spell(ON_GPU)["allowed_media_domains"] == [NO_MEDIA_DOMAIN]


def test_fp8_cache_on_gpu_only() -> None:
    """An FP8 cache, and scales for it, cannot start on a CPU."""
    scales = Path("/scales.json")
    on_gpu = spell(replace(ON_GPU, fp8_kv_cache=True, kv_cache_scales=scales))
    assert on_gpu["kv_cache_dtype"] == "fp8_e4m3"
    assert on_gpu["quantization_param_path"] == "/scales.json"
    on_cpu = spell(replace(ON_CPU, fp8_kv_cache=True, kv_cache_scales=scales))
    assert not on_cpu.keys() & {"kv_cache_dtype", "quantization_param_path"}


def test_scales_without_fp8_cache() -> None:
    """Scales mean nothing where the cache is not in FP8: SGLang is not told of them."""
    arguments = spell(replace(ON_GPU, kv_cache_scales=Path("/scales.json")))
    assert "quantization_param_path" not in arguments


def test_prefix_caching() -> None:
    """The radix cache is there when asked for."""
    assert spell(replace(ON_CPU, prefix_caching=True))["disable_radix_cache"] is False
    assert spell(ON_CPU)["disable_radix_cache"] is True


@pytest.mark.parametrize(
    ("weight_bytes", "dtype"), [(FLOAT32_MAX_BYTES, "float32"), (FLOAT32_MAX_BYTES + 1, "bfloat16")]
)
def test_small_model_in_float32(weight_bytes: int, dtype: str) -> None:
    """A small model is computed in float32 on a CPU; on a GPU the model decides."""
    checkpoint = replace(LLAMA, weight_bytes=weight_bytes)
    assert spell(ON_CPU, checkpoint)["dtype"] == dtype
    assert "dtype" not in spell(ON_GPU, checkpoint)


def test_gguf_on_gpu() -> None:
    """A GGUF file is named as such, with the tokenizer that the id names."""
    files = replace(FILES, format=ModelFormat.GGUF, tokenizer=Path("/models/tokenizer"))
    arguments = server_arguments(files, ON_GPU, LLAMA)
    assert arguments["load_format"] == "gguf"
    assert arguments["tokenizer_path"] == "/models/tokenizer"


@pytest.mark.parametrize(
    ("quantization", "added"),
    [
        (WeightQuantization.NONE, {}),
        (WeightQuantization.FP8, {"quantization": "fp8"}),
        (
            WeightQuantization.BITSANDBYTES,
            {"quantization": "bitsandbytes", "load_format": "bitsandbytes"},
        ),
    ],
)
def test_weights_are_quantised_on_gpu(
    quantization: WeightQuantization, added: dict[str, str]
) -> None:
    """In-situ quantisation is SGLang's own online quantisation."""
    plain = spell(ON_GPU)
    assert spell(ON_GPU, quantization=quantization) == plain | added


def test_parallel_sizes() -> None:
    """Every size of parallelism and the place among machines reach SGLang on a GPU."""
    wanted = {
        "tp_size": 2,
        "dp_size": 3,
        "pp_size": 4,
        "ep_size": 2,
        "nnodes": 2,
        "node_rank": 1,
        "dist_init_addr": "10.0.0.1:5000",
        "attention_backend": "triton",
        "schedule_policy": "lpm",
    }
    assert spell(with_options(ON_GPU, **wanted)).items() >= wanted.items()


def test_attention_backend_is_for_gpus() -> None:
    """On a CPU SGLang chooses the attention kernels itself."""
    assert "attention_backend" not in spell(with_options(ON_CPU, attention_backend="fa3"))


def test_speculative_decoding() -> None:
    """The draft model and its sizes are told together with the algorithm, and never without."""
    sizes = {
        "speculative_num_steps": 3,
        "speculative_eagle_topk": 1,
        "speculative_num_draft_tokens": 4,
    }
    draft = {"speculative_draft_model_path": Path("/draft"), **sizes}
    arguments = spell(with_options(ON_GPU, speculative_algorithm="EAGLE", **draft))
    wanted = {
        "speculative_algorithm": "EAGLE",
        "speculative_draft_model_path": "/draft",
        **sizes,
    }
    assert arguments.items() >= wanted.items()
    assert not [name for name in spell(with_options(ON_GPU, **draft)) if "speculative" in name]


def test_adapters() -> None:
    """LoRA adapters are given by name, and the batch has a place for each and for the model."""
    adapters = {"sql": Path("/lora/sql"), "legal": Path("/lora/legal")}
    arguments = spell(replace(ON_GPU, lora_adapters=adapters, max_lora_rank=64))
    assert arguments["enable_lora"] is True
    assert arguments["lora_paths"] == {"sql": "/lora/sql", "legal": "/lora/legal"}
    assert arguments["max_loras_per_batch"] == 3
    assert arguments["max_lora_rank"] == 64
    assert "enable_lora" not in spell(ON_GPU)
