"""Settings, sampling values and files as SGLang spells them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tokenwire.server.engine import SamplingParams
from tokenwire.server.engine_settings import Device, EngineSettings, ModelFiles, ModelFormat
from tokenwire.server.engines.sglang.arguments import (
    CPU_POOL_TOKENS,
    FLOAT32_MAX_BYTES,
    count_weight_bytes,
    read_max_position,
    server_arguments,
)
from tokenwire.server.engines.sglang.cpu import cpu_environment
from tokenwire.server.engines.sglang.sampling import BAN, Vocabulary, sampling_arguments

FILES = ModelFiles("owner/model:with-colon", ModelFormat.SAFETENSORS, Path("/models/one"))
ON_CPU = EngineSettings(Device.CPU, max_running=4)
ON_GPU = EngineSettings(Device.CUDA, max_running=4)
VOCABULARY = Vocabulary(100, frozenset({2, 3}))
PLAIN = SamplingParams(temperature=0.5, top_p=0.9, max_tokens=7)


def test_served_name_is_id() -> None:
    """The model is served under its own id, or SGLang would read an adapter behind the colon."""
    arguments = server_arguments(FILES, ON_CPU, weight_bytes=1)
    assert arguments["served_model_name"] == "owner/model:with-colon"
    assert arguments["model_path"] == "/models/one"


@pytest.mark.parametrize(
    ("asked", "pool"), [(None, CPU_POOL_TOKENS), (1, CPU_POOL_TOKENS), (100_000, 100_000)]
)
def test_pool_on_cpu_is_fixed(asked: int | None, pool: int) -> None:
    """On a CPU the pool has a size of its own, in whole pages, never too small to be of use."""
    settings = replace(ON_CPU, kv_pool_tokens=asked, page_size=48)
    arguments = server_arguments(FILES, settings, weight_bytes=1)
    assert arguments["max_total_tokens"] % 48 == 0
    assert 0 <= arguments["max_total_tokens"] - pool < 48


def test_pool_on_gpu_is_sized_from_memory() -> None:
    """On a GPU the pool is SGLang's to size, except where a size is asked for."""
    assert "max_total_tokens" not in server_arguments(FILES, ON_GPU, weight_bytes=1)
    asked = server_arguments(FILES, replace(ON_GPU, kv_pool_tokens=100), weight_bytes=1)
    assert asked["max_total_tokens"] == 128


@pytest.mark.parametrize("page_size", [1, 16, 32, 48, 1024])
def test_prefill_in_whole_pages(page_size: int) -> None:
    """Prompts are read in pieces of whole pages, or SGLang refuses to start."""
    settings = replace(ON_CPU, page_size=page_size)
    arguments = server_arguments(FILES, settings, weight_bytes=1)
    assert arguments["chunked_prefill_size"] % page_size == 0
    assert arguments["page_size"] == page_size


def test_fp8_cache_on_gpu_only() -> None:
    """An FP8 cache cannot start on a CPU."""
    on_gpu = server_arguments(FILES, replace(ON_GPU, fp8_kv_cache=True), weight_bytes=1)
    assert on_gpu["kv_cache_dtype"] == "fp8_e4m3"
    on_cpu = server_arguments(FILES, replace(ON_CPU, fp8_kv_cache=True), weight_bytes=1)
    assert "kv_cache_dtype" not in on_cpu


def test_prefix_caching() -> None:
    """The radix cache is there when asked for."""
    on = server_arguments(FILES, replace(ON_CPU, prefix_caching=True), weight_bytes=1)
    assert on["disable_radix_cache"] is False
    assert server_arguments(FILES, ON_CPU, weight_bytes=1)["disable_radix_cache"] is True


@pytest.mark.parametrize(
    ("max_model_len", "max_position", "context_length"),
    [(None, 8192, None), (1000, 8192, 1006), (8192, 8192, 8192), (9000, 8192, 8192), (9, None, 15)],
)
def test_context_length(
    max_model_len: int | None, max_position: int | None, context_length: int | None
) -> None:
    """The context is what was asked for and what SGLang takes off, within the model's own."""
    arguments = server_arguments(
        FILES,
        replace(ON_CPU, max_model_len=max_model_len),
        weight_bytes=1,
        max_position=max_position,
    )
    assert arguments.get("context_length") == context_length


@pytest.mark.parametrize(
    ("weight_bytes", "dtype"), [(FLOAT32_MAX_BYTES, "float32"), (FLOAT32_MAX_BYTES + 1, "bfloat16")]
)
def test_small_model_in_float32(weight_bytes: int, dtype: str) -> None:
    """A small model is computed in float32 on a CPU; on a GPU the model decides."""
    assert server_arguments(FILES, ON_CPU, weight_bytes=weight_bytes)["dtype"] == dtype
    assert "dtype" not in server_arguments(FILES, ON_GPU, weight_bytes=weight_bytes)


def test_gguf_on_gpu() -> None:
    """A GGUF file is named as such, with the tokenizer that the id names."""
    files = replace(FILES, format=ModelFormat.GGUF, tokenizer=Path("/models/tokenizer"))
    arguments = server_arguments(files, ON_GPU, weight_bytes=1)
    assert arguments["load_format"] == "gguf"
    assert arguments["tokenizer_path"] == "/models/tokenizer"


@pytest.mark.parametrize(
    ("config", "position"),
    [
        ({"max_position_embeddings": 5}, 5),
        ({"text_config": {"max_position_embeddings": 6}}, 6),
        ({}, None),
    ],
)
def test_read_max_position(tmp_path: Path, config: dict[str, object], position: int | None) -> None:
    """The model's own context is read from its configuration, also from that of its text part."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_max_position(tmp_path) == position


def test_read_max_position_without_config(tmp_path: Path) -> None:
    """No configuration, no limit."""
    assert read_max_position(tmp_path) is None


def test_count_weight_bytes(tmp_path: Path) -> None:
    """Only weights count."""
    (tmp_path / "a.safetensors").write_bytes(b"123")
    (tmp_path / "b.safetensors").write_bytes(b"45")
    (tmp_path / "config.json").write_bytes(b"{}")
    assert count_weight_bytes(tmp_path) == 5
    assert count_weight_bytes(tmp_path / "a.safetensors") == 3


def test_every_sampling_value_is_explicit() -> None:
    """No value is left to SGLang's or the model's own defaults."""
    assert sampling_arguments(PLAIN, VOCABULARY) == {
        "max_new_tokens": 7,
        "min_new_tokens": 0,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stop_token_ids": None,
        "ignore_eos": False,
        "logit_bias": None,
        "skip_special_tokens": True,
        "n": 1,
    }


def test_top_p_zero_is_greedy() -> None:
    """SGLang refuses top_p 0, which means greedy."""
    arguments = sampling_arguments(replace(PLAIN, top_p=0.0), VOCABULARY)
    assert (arguments["top_p"], arguments["top_k"]) == (1.0, 1)


def test_foreign_stop_tokens_are_dropped() -> None:
    """Stop tokens that the model cannot generate never reach the scheduler: it would crash."""
    params = replace(PLAIN, stop_token_ids=(-1, 5, 100, 2**31))
    assert sampling_arguments(params, VOCABULARY)["stop_token_ids"] == [5]


def test_end_is_banned_where_only_stop_tokens_stop() -> None:
    """SGLang ignores stop tokens together with the end, so the end is kept from coming."""
    params = replace(PLAIN, stop_token_ids=(3, 5), ignore_eos=True, logit_bias={7: 1.0})
    arguments = sampling_arguments(params, VOCABULARY)
    assert arguments["ignore_eos"] is False
    assert arguments["logit_bias"] == {"7": 1.0, "2": BAN}


def test_cpu_threads_do_not_spin() -> None:
    """Threads that wait give their core away."""
    environment = cpu_environment(3)
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["OMP_NUM_THREADS"] == "3"
    assert int(cpu_environment(None)["OMP_NUM_THREADS"]) >= 1
