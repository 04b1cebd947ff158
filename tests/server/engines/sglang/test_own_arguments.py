"""What SGLang's own argument code makes of the service's arguments and of `LLM_SGLANG_ARGS`.

It runs in a process of its own where torch says that there are two H200 (`sglang_probe.py`); no
engine is started. One process for all cases, because its imports take half a minute.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenwire.server.contract.engine_settings import (
    Device,
    ModelFiles,
    ModelFormat,
)
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.engines.sglang.host.extra_arguments import OWNED
from tokenwire.server.engines.sglang.plan.arguments import server_arguments
from tokenwire.server.engines.sglang.plan.checkpoint import read_checkpoint
from tokenwire.server.engines.sglang.plan.gguf_architectures import LOADABLE
from tokenwire.server.engines.sglang.plan.memory import page_size
from tokenwire.server.engines.sglang.plan.weight_quantization import WeightQuantization
from tokenwire.server.engines.sglang.settings import SglangSettings
from tokenwire.server.engines.sglang.versions import installed_version

from .fixtures import launcher_for

PROBE = Path(__file__).parent / "probe.py"
GIB = 1 << 30
ON_GPU = SglangSettings(Device.CUDA, max_running=64)
LLAMA_8B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "vocab_size": 128256,
    "torch_dtype": "bfloat16",
}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic"}

GIVEN = (
    "--sampling-backend pytorch --mem-fraction-static=0.7 --disable-overlap-schedule "
    "--load-format dummy"
)
VISION: dict[str, dict[str, Any]] = {
    "qwen2.5-vl": {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "vision_config": {"model_type": "qwen2_5_vl", "depth": 4, "out_hidden_size": 4096},
    },
    "gemma 3n": {
        "architectures": ["Gemma3nForConditionalGeneration"],
        "model_type": "gemma3n",
        "text_config": {"model_type": "gemma3n_text"},
        "vision_config": {"model_type": "gemma3n_vision"},
        "audio_config": {"model_type": "gemma3n_audio"},
    },
    # SGLang has no class of its own for it, and runs that of transformers.
    "llava 1.6": {
        "architectures": ["LlavaNextForConditionalGeneration"],
        "model_type": "llava_next",
        "text_config": {"model_type": "mistral", "max_position_embeddings": 32768},
        "vision_config": {"model_type": "clip_vision_model"},
    },
}
# Case, words of LLM_SGLANG_ARGS, and what is said about them.
REFUSED = {
    "misspelt": ("--sampling-backen pytorch", "did you mean --sampling-backend?"),
    "short": ("--tp 2", "did you mean --tp-size?"),
    "unknown": ("--frobnicate", "SGLang has no argument --frobnicate"),
    "stray": ("stray", "'stray' belongs to no argument"),
    "choice": ("--sampling-backend foo", "invalid choice: 'foo'"),
    "type": ("--mem-fraction-static lots", "invalid float value: 'lots'"),
    "no value": ("--mem-fraction-static", "expected one argument"),
    "json": ("--cuda-graph-config {bad", "must be JSON"),
    "model": ("--model-path x", "LLM_ALLOWED_MODELS"),
    "port": ("--port 1", "the service runs SGLang in a process of its own"),
    "name": ("--served-model-name x", "LLM_ALLOWED_MODELS"),
    "stream": ("--incremental-streaming-output", "the service needs its own value"),
    "variable": ("--tp-size 2", "use LLM_TP_SIZE"),
    "alias": ("--tensor-parallel-size 2", "use LLM_TP_SIZE"),
    "file": ("--config a.yaml", "write the arguments themselves"),
}


def options(**values: Any) -> SglangSettings:
    return replace(ON_GPU, **values)


def checkpoint_folder(folder: Path, **config: Any) -> ModelFiles:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA_8B | config))
    return ModelFiles("owner/model", ModelFormat.SAFETENSORS, folder)


def spell(
    files: ModelFiles,
    settings: SglangSettings,
    quantization: WeightQuantization = WeightQuantization.NONE,
) -> dict[str, Any]:
    settings = replace(settings, page_size=page_size(settings, installed_version()))
    return server_arguments(
        files,
        settings,
        read_checkpoint(files),
        quantization=quantization,
        free_bytes=140 * GIB,
    )


def resolved_cases(root: Path, gguf_file: Path) -> dict[str, dict[str, Any]]:
    plain = checkpoint_folder(root / "plain")
    draft = checkpoint_folder(
        root / "draft", architectures=["LlamaForCausalLMEagle"], num_hidden_layers=1
    )
    gguf = checkpoint_folder(root / "gguf", model_type="llama").path
    (gguf / "model.gguf").symlink_to(gguf_file)
    gguf_files = ModelFiles("o/m:m.gguf", ModelFormat.GGUF, gguf / "model.gguf", tokenizer=gguf)
    eagle = options(
        speculative_algorithm="EAGLE",
        speculative_draft_model_path=draft.path,
        speculative_num_steps=3,
        speculative_eagle_topk=1,
        speculative_num_draft_tokens=4,
    )
    adapters = replace(ON_GPU, lora_adapters={"sql": Path("/lora/sql")}, max_lora_rank=16)
    cases = {
        "plain": spell(plain, ON_GPU),
        "fp8 cache": spell(plain, replace(ON_GPU, fp8_kv_cache=True, prefix_caching=True)),
        "tp": spell(plain, options(tp_size=2)),
        "dp": spell(plain, options(dp_size=2)),
        "pp": spell(plain, options(pp_size=2)),
        "lora": spell(plain, adapters),
        "eagle": spell(plain, eagle),
        "ngram": spell(plain, options(speculative_algorithm="NGRAM")),
        "fp8": spell(plain, ON_GPU, WeightQuantization.FP8),
        "bitsandbytes": spell(plain, ON_GPU, WeightQuantization.BITSANDBYTES),
        "gguf": spell(gguf_files, ON_GPU)
        | {"json_model_override_args": json.dumps(dict(LOADABLE["llama"]))},
        "memory": spell(plain, replace(ON_GPU, memory_bytes=40 * GIB)),
        "odd page": spell(plain, replace(ON_GPU, page_size=48)),
        "tuned": spell(
            plain,
            options(attention_backend="triton", chunked_prefill_size=1000, schedule_policy="lpm"),
        ),
        "gptq": spell(checkpoint_folder(root / "gptq", quantization_config=GPTQ), ON_GPU),
        "awq": spell(checkpoint_folder(root / "awq", quantization_config=AWQ), ON_GPU),
        "fp8 checkpoint": spell(checkpoint_folder(root / "fp8", quantization_config=FP8), ON_GPU),
    }
    for name, config in VISION.items():
        cases[name] = spell(checkpoint_folder(root / name, **config), ON_GPU)
    return {name: {"arguments": arguments} for name, arguments in cases.items()}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, gguf_file: Path) -> dict[str, dict[str, Any]]:
    """SGLang's answer to each case."""
    cases = resolved_cases(tmp_path_factory.mktemp("models"), gguf_file)
    cases |= {name: {"words": words.split()} for name, (words, _) in REFUSED.items()}
    cases["unheard of"] = {"arguments": {"model_path": "x", "frobnicate": True}}
    cases["given"] = {"words": GIVEN.split()}
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "0,1", "HF_HUB_OFFLINE": "1"}
    environment.pop("SGLANG_USE_CPU_ENGINE", None)
    done = subprocess.run(
        [sys.executable, str(PROBE)],
        input="\n".join(map(json.dumps, cases.values())),
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(cases, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("plain", {"page_size": "32", "kv_cache_dtype": "'auto'", "max_total_tokens": "None"}),
        ("fp8 cache", {"kv_cache_dtype": "'fp8_e4m3'", "attention_backend": "'fa3'"}),
        ("fp8 cache", {"page_size": "32", "disable_radix_cache": "False"}),
        ("tp", {"tp_size": "2"}),
        ("dp", {"dp_size": "2"}),
        ("pp", {"pp_size": "2"}),
        ("lora", {"enable_lora": "True", "max_lora_rank": "16", "max_loras_per_batch": "2"}),
        ("eagle", {"speculative_algorithm": "'EAGLE'", "speculative_num_draft_tokens": "4"}),
        ("ngram", {"speculative_algorithm": "'NGRAM'", "page_size": "1"}),
        ("fp8", {"quantization": "'fp8'"}),
        ("bitsandbytes", {"quantization": "'bitsandbytes'", "load_format": "'bitsandbytes'"}),
        ("gguf", {"quantization": "'gguf'", "load_format": "'gguf'", "page_size": "32"}),
        # (40 GiB - 7.25 GiB) of 140 GiB, with steps as on a GPU of that size.
        ("memory", {"mem_fraction_static": "0.2339", "chunked_prefill_size": "4096"}),
        ("odd page", {"page_size": "48", "chunked_prefill_size": "4128"}),
        ("tuned", {"attention_backend": "'triton'", "chunked_prefill_size": "1024"}),
        ("gptq", {"page_size": "32"}),
        ("awq", {"page_size": "32"}),
        ("fp8 checkpoint", {"page_size": "32"}),
        *((name, {"page_size": "32", "device": "'cuda'"}) for name in VISION),
    ],
)
def test_arguments_resolve_on_hopper(
    answers: dict[str, dict[str, Any]], case: str, expected: dict[str, str]
) -> None:
    """SGLang takes the arguments on a Hopper GPU, and means by them what the service means."""
    answer = answers[case]
    assert "error" not in answer, answer["error"]
    resolved = answer["resolved"]
    assert {name: resolved[name] for name in expected} == expected
    if installed_version() != "0.5.17":
        assert answer["left_out"] == []


def test_foreign_argument_stops_the_start(answers: dict[str, dict[str, Any]]) -> None:
    """A name that SGLang does not have is an error, never dropped."""
    assert "no argument frobnicate" in answers["unheard of"]["error"]


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_word_is_told(answers: dict[str, dict[str, Any]], case: str) -> None:
    """A wrong word is one sentence with the variable, the argument and what to do."""
    error = answers[case]["error"].removeprefix("ExtraArgumentError: ")
    assert error.startswith("LLM_SGLANG_ARGS: ")
    assert REFUSED[case][1] in error
    assert "\n" not in error


def test_given_arguments_are_read(answers: dict[str, dict[str, Any]]) -> None:
    """Right words become arguments, those alone: SGLang's defaults do not come along."""
    assert answers["given"]["given"] == {
        "sampling_backend": "'pytorch'",
        "mem_fraction_static": "0.7",
        "disable_overlap_schedule": "True",
        "load_format": "'dummy'",
    }


async def test_wrong_word_ends_the_start(tmp_path: Path) -> None:
    """The host refuses a wrong word before it starts SGLang, and the operator reads the reason.

    Over 1 s: the host imports SGLang.
    """
    settings = SglangSettings(
        Device.CPU, max_running=1, extra_args=("--sampling-backen", "pytorch")
    )
    launcher = launcher_for(checkpoint_folder(tmp_path / "model"), settings)
    with pytest.raises(ModelLoadFailed, match=r"^LLM_SGLANG_ARGS: .* mean --sampling-backend\?"):
        await launcher.launch(lambda _: None)


def test_owned_names_are_real(answers: dict[str, dict[str, Any]]) -> None:
    """What the service keeps for itself is spelt as SGLang spells it."""
    known = answers["plain"]["resolved"].keys() | {"config"}
    # These belong to some of the supported versions only, or to the embedded engine alone.
    known |= {
        "fastapi_root_path",
        "grpc_mode",
        "grpc_port",
        "stream_response_default_include_usage",
    }
    known |= {"allowed_media_domains", "media_url_max_file_size_mb", "admin_api_key"}
    assert OWNED.keys() - known == set()
