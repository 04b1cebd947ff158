"""What SGLang cannot run as configured is refused or told, before anything is started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenwire.server.contract.isq_type import IsqType
from tokenwire.server.engines.sglang.plan.checkpoint import read_checkpoint
from tokenwire.server.engines.sglang.settings import SglangSettings

from .checkpoints import ON_CPU, ON_GPU, model, notices_of, options, refusal_of


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        (options(ON_CPU, speculative_algorithm="EAGLE"), "LLM_SPECULATIVE_ALGORITHM"),
        (options(ON_CPU, tp_size=2), "LLM_TP_SIZE"),
        (options(ON_CPU, pp_size=2), "LLM_PP_SIZE"),
        (options(ON_CPU, dp_size=2), "LLM_DP_SIZE"),
        (options(ON_CPU, ep_size=2), "LLM_EP_SIZE"),
        (options(ON_CPU, nnodes=2), "LLM_NNODES"),
        (options(ON_GPU, speculative_algorithm="eagle3"), "LLM_SPECULATIVE_DRAFT_MODEL"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wish_that_must_not_be_guessed_is_refused(
    tmp_path: Path, settings: SglangSettings, variable: str
) -> None:
    """What changes answers or machines is refused by the name of its variable."""
    refusal = refusal_of(model(tmp_path), settings)
    assert refusal is not None
    assert variable in refusal


@pytest.mark.parametrize("settings", [ON_CPU, ON_GPU], ids=["cpu", "gpu"])
def test_plain_model_runs(tmp_path: Path, settings: SglangSettings) -> None:
    """Nothing is refused and nothing is told where nothing is special."""
    assert refusal_of(model(tmp_path), settings) is None
    assert notices_of(model(tmp_path), settings) == []


@pytest.mark.parametrize(
    "config",
    [
        {"quantization_config": {"quant_method": "gptq"}},
        {"quantization_config": {"quant_method": "awq"}},
        {"quantization_config": {"quant_method": "fp8"}},
        {"compression_config": {"quant_method": "compressed-tensors"}},
        {"text_config": {"quantization_config": {"quant_method": "gptq"}}},
    ],
)
def test_quantised_checkpoint_needs_a_gpu(tmp_path: Path, config: dict[str, Any]) -> None:
    """Weights that are quantised already are refused on a CPU, by the method, and run on a GPU."""
    files = model(tmp_path, **config)
    refusal = refusal_of(files, ON_CPU)
    assert refusal is not None
    assert read_checkpoint(files).quantization in refusal
    assert refusal_of(files, ON_GPU) is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (options(ON_GPU, chunked_prefill_size=100), "LLM_CHUNKED_PREFILL_SIZE=100 becomes 128"),
        (options(ON_CPU, attention_backend="fa3"), "LLM_ATTENTION_BACKEND=fa3"),
        (replace(ON_CPU, kv_cache_scales=Path("/s.json")), "LLM_KV_CACHE_SCALES"),
        (replace(ON_GPU, max_model_len=9000), "LLM_MAX_MODEL_LEN=9000 becomes 8192"),
        (replace(ON_GPU, fp8_kv_cache=True), "there are no scales"),
        (replace(ON_CPU, isq=IsqType.Q8_0), "LLM_ISQ_TYPE=Q8_0 becomes int8"),
    ],
)
def test_tuning_is_told(tmp_path: Path, settings: SglangSettings, told: str) -> None:
    """What only tunes is followed as far as it goes, and one line says how far."""
    (notice,) = notices_of(model(tmp_path), settings)
    assert told in notice
    assert refusal_of(model(tmp_path), settings) is None
