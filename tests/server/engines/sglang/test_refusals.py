"""What SGLang cannot run as configured is refused or told, before anything is started."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenwire.server.contract.engine_settings import (
    Device,
    EngineSettings,
    ModelFiles,
    ModelFormat,
    SglangOptions,
)
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.contract.isq_type import IsqType
from tokenwire.server.engines.sglang.front.launcher import SglangLauncher
from tokenwire.server.engines.sglang.plan.checkpoint import Checkpoint, read_checkpoint
from tokenwire.server.engines.sglang.plan.kv_scales import find_scales_defect, has_scales
from tokenwire.server.engines.sglang.plan.refusals import find_notices, find_refusal
from tokenwire.server.engines.sglang.plan.weight_quantization import (
    BITS,
    WeightQuantization,
    choose_quantization,
)
from tokenwire.server.engines.sglang.versions import (
    MissingArgument,
    fit_arguments,
    has_cpu_pages,
)

# Older versions have no larger pages there, which is told.
ON_CPU = EngineSettings(Device.CPU, max_running=4, page_size=1)
ON_GPU = EngineSettings(Device.CUDA, max_running=4)
LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "max_position_embeddings": 8192,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "hidden_size": 64,
}
PLAIN = Checkpoint("LlamaForCausalLM")


def model(folder: Path, tensors: tuple[str, ...] = ("w",), **config: Any) -> ModelFiles:
    """Writes a folder with a configuration, and a file of empty tensors of these names."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(LLAMA | config))
    header = json.dumps(
        {name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in tensors}
    ).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return ModelFiles("owner/model", ModelFormat.SAFETENSORS, folder)


def options(settings: EngineSettings, **values: Any) -> EngineSettings:
    return replace(settings, sglang=SglangOptions(**values))


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        (options(ON_CPU, speculative_algorithm="EAGLE"), "LLM_SPECULATIVE_ALGORITHM"),
        (replace(ON_CPU, lora_adapters={"sql": Path("/sql")}), "LLM_LORA_ADAPTERS"),
        (options(ON_CPU, tp_size=2), "LLM_TP_SIZE"),
        (options(ON_CPU, pp_size=2), "LLM_PP_SIZE"),
        (options(ON_CPU, dp_size=2), "LLM_DP_SIZE"),
        (options(ON_CPU, ep_size=2), "LLM_EP_SIZE"),
        (options(ON_CPU, nnodes=2), "LLM_NNODES"),
        (options(ON_GPU, speculative_algorithm="eagle3"), "LLM_SPECULATIVE_DRAFT_MODEL"),
        (options(ON_GPU, node_rank=1), "LLM_NODE_RANK"),
        (options(ON_GPU, nnodes=2), "LLM_DIST_INIT_ADDR"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wish_that_must_not_be_guessed_is_refused(
    tmp_path: Path, settings: EngineSettings, variable: str
) -> None:
    """What changes answers or machines is refused by the name of its variable."""
    refusal = find_refusal(model(tmp_path), settings)
    assert refusal is not None
    assert variable in refusal


@pytest.mark.parametrize("settings", [ON_CPU, ON_GPU], ids=["cpu", "gpu"])
def test_plain_model_runs(tmp_path: Path, settings: EngineSettings) -> None:
    """Nothing is refused and nothing is told where nothing is special."""
    assert find_refusal(model(tmp_path), settings) is None
    assert find_notices(model(tmp_path), settings) == []


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
    refusal = find_refusal(files, ON_CPU)
    assert refusal is not None
    assert read_checkpoint(files).quantization in refusal
    assert find_refusal(files, ON_GPU) is None


async def test_launcher_refuses(tmp_path: Path) -> None:
    """A refusal comes at once, with no process started."""
    launcher = SglangLauncher(model(tmp_path), options(ON_CPU, tp_size=2))
    with pytest.raises(ModelLoadFailed, match="LLM_TP_SIZE=2"):
        await launcher.launch(lambda _: None)


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
def test_tuning_is_told(tmp_path: Path, settings: EngineSettings, told: str) -> None:
    """What only tunes is followed as far as it goes, and one line says how far."""
    (notice,) = find_notices(model(tmp_path), settings)
    assert told in notice
    assert find_refusal(model(tmp_path), settings) is None


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
    # Of a checkpoint in several files the index names all tensors.
    (files.path / "model.safetensors").unlink()
    index = {"weight_map": {name: "model-1.safetensors"}}
    (files.path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert has_scales(files.path, None, read_checkpoint(files)) is found


def scales(**changes: Any) -> dict[str, Any]:
    factors = {"0": {"0": 0.5, "1": 0.25}}
    return {"dtype": "float8_e4m3fn", "scaling_factor": factors} | changes


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
    refusal = find_refusal(model(tmp_path / "model"), settings)
    if defect is None:
        assert refusal is None
        assert find_notices(model(tmp_path / "model"), settings) == []
    else:
        assert refusal is not None
        assert "LLM_KV_CACHE_SCALES" in refusal
        assert defect in refusal


def test_file_of_scales_for_a_foreign_architecture(tmp_path: Path) -> None:
    """Where SGLang's class takes no file of scales, that is said before it fails to start."""
    defect = find_scales_defect(tmp_path / "s.json", Checkpoint("Gemma2ForCausalLM"), 1)
    assert defect is not None
    assert "Gemma2ForCausalLM" in defect


@pytest.mark.parametrize("isq", list(IsqType), ids=lambda isq: isq.value)
def test_every_isq_type_becomes_something(isq: IsqType) -> None:
    """Each type becomes the smallest format that is as precise, and one line says which."""
    small = BITS[isq] <= 4
    for device, has_bitsandbytes, expected in (
        (Device.CPU, False, WeightQuantization.INT4_CPU if small else WeightQuantization.INT8_CPU),
        (Device.CUDA, False, WeightQuantization.FP8),
        (
            Device.CUDA,
            True,
            WeightQuantization.BITSANDBYTES if small else WeightQuantization.FP8,
        ),
    ):
        choice = choose_quantization(isq, device, PLAIN, has_bitsandbytes=has_bitsandbytes)
        assert choice.quantization is expected
        assert f"LLM_ISQ_TYPE={isq.value}" in choice.notice


@pytest.mark.parametrize("device", list(Device))
@pytest.mark.parametrize("quantization", ["gguf", "gptq"])
def test_isq_is_not_for_quantised_weights(device: Device, quantization: str) -> None:
    """What is quantised already is loaded as it is, which is told."""
    checkpoint = replace(PLAIN, quantization=quantization)
    choice = choose_quantization(IsqType.Q4_0, device, checkpoint, has_bitsandbytes=True)
    assert choice.quantization is WeightQuantization.NONE
    assert "not needed" in choice.notice


def test_isq_where_bitsandbytes_does_not_go() -> None:
    """Four bits become eight where SGLang cannot stack the weights, and the reason is told."""
    checkpoint = replace(PLAIN, architecture="DeepseekV2ForCausalLM")
    choice = choose_quantization(IsqType.Q4_K, Device.CUDA, checkpoint, has_bitsandbytes=True)
    assert choice.quantization is WeightQuantization.FP8
    assert "DeepseekV2ForCausalLM" in choice.notice


def test_missing_tuning_is_left_out() -> None:
    """An argument that only tunes is left out where SGLang lacks it, and named."""
    given = {"model_path": "/m", "allowed_media_domains": ["none.invalid"]}
    fitted = fit_arguments(given, {"model_path"}, "0.5.17")
    assert fitted.arguments == {"model_path": "/m"}
    assert fitted.left_out == ("allowed_media_domains",)


def test_missing_decision_is_an_error() -> None:
    """An argument that decides what is answered is never dropped."""
    with pytest.raises(MissingArgument, match=r"0\.5\.9 has no argument incremental_streaming"):
        fit_arguments({"incremental_streaming_output": True}, {"model_path"}, "0.5.9")


@pytest.mark.parametrize(
    ("version", "has_pages"),
    [("0.5.17", False), ("0.5.21", False), ("0.5.22", True), ("0.6", True)],
)
def test_cpu_pages(version: str, has_pages: bool) -> None:
    """Older versions allocate pages with a kernel that no CPU runs."""
    assert has_cpu_pages(version) is has_pages


@pytest.mark.parametrize(
    ("architecture", "on_cpu", "on_gpu"),
    [
        ("Phi3VForCausalLM", "which SGLang does not have", "which SGLang does not have"),
        ("DeepseekV3ForCausalLM", "multi-head latent attention", None),
        ("GraniteMoeHybridForCausalLM", "state space layers", None),
        ("Qwen3ForCausalLM", None, None),
    ],
)
def test_architectures_that_cannot_run_are_refused(
    tmp_path: Path, architecture: str, on_cpu: str | None, on_gpu: str | None
) -> None:
    """Before the engine is started, which would die of it; with what runs instead."""
    files = model(tmp_path, architectures=[architecture])
    for settings, words in ((ON_CPU, on_cpu), (ON_GPU, on_gpu)):
        refusal = find_refusal(files, settings)
        if words is None:
            assert refusal is None
        else:
            assert refusal is not None
            assert refusal.startswith("SGLang cannot run 'owner/model': ")
            assert words in refusal


@pytest.mark.parametrize(
    ("architecture", "settings", "words"),
    [
        ("PhiForCausalLM", ON_CPU, "the bias of its output layer"),
        ("PhiForCausalLM", ON_GPU, "the bias of its output layer"),
        ("Gemma2ForCausalLM", ON_CPU, "the soft cap of its attention"),
        ("Gemma2ForCausalLM", ON_GPU, None),
    ],
)
def test_what_is_computed_otherwise_is_told(
    tmp_path: Path, architecture: str, settings: EngineSettings, words: str | None
) -> None:
    """A model that would answer worse without a word says so at the start."""
    told = " ".join(find_notices(model(tmp_path, architectures=[architecture]), settings))
    assert (architecture in told) == (words is not None)
    assert (words or "") in told
