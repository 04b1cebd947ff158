"""KV pool, context, prefill steps and share of a GPU: how much SGLang is told to take."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenwire.server.contract.engine_settings import Device
from tokenwire.server.engines.sglang.plan.checkpoint import Checkpoint
from tokenwire.server.engines.sglang.plan.memory import (
    CPU_POOL_TOKENS,
    CPU_PROCESS_BYTES,
    MIN_CPU_POOL_TOKENS,
    context_length,
    memory_fraction,
    pool_tokens,
    prefill_tokens,
    work_bytes,
)
from tokenwire.server.engines.sglang.settings import SglangSettings

GIB = 1 << 30
ON_CPU = SglangSettings(Device.CPU, max_running=16)
ON_GPU = SglangSettings(Device.CUDA, max_running=16)
# 2 x 16 layers x 8 heads x 64: 32 KiB a token in 16 bits.
SMALL = Checkpoint(
    "LlamaForCausalLM", max_position=8192, weight_bytes=1 << 30, kv_values_per_token=16384
)


@pytest.mark.parametrize("settings", [ON_CPU, ON_GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("asked", [16, 2000 * 16])
def test_asked_pool_holds_one_full_context(settings: SglangSettings, asked: int) -> None:
    """A small LLM_PAGED_ATTENTION_CONTEXT_SIZE never makes a request of full length fail."""
    pool = pool_tokens(replace(settings, kv_pool_tokens=asked), SMALL, None)
    assert pool is not None
    # A request that fills the pool to its last page is never scheduled.
    assert pool >= 8192 + 2 * 32
    assert pool >= asked
    assert pool % 32 == 0


def test_pool_on_gpu_is_sized_from_memory() -> None:
    """Without a size SGLang sizes the pool on a GPU."""
    assert pool_tokens(ON_GPU, SMALL, 80 * GIB) is None


def test_pool_on_cpu_has_a_size() -> None:
    """On a CPU, where SGLang would take most of the memory, the pool has a useful size."""
    assert pool_tokens(ON_CPU, SMALL, None) == CPU_POOL_TOKENS


def test_pool_on_cpu_holds_a_long_context() -> None:
    """A model with a long context gets a pool that holds one request of full length."""
    long = replace(SMALL, max_position=131072)
    pool = pool_tokens(ON_CPU, long, None)
    assert pool is not None
    assert pool >= 131072 + 2 * 32


def test_pool_on_cpu_is_no_larger_than_all_requests_need() -> None:
    """Memory is not taken for tokens that no request may have."""
    settings = replace(ON_CPU, max_running=2, max_model_len=1024)
    pool = pool_tokens(settings, SMALL, None)
    assert pool is not None
    assert pool < 3 * 1100


def test_pool_on_cpu_fits_into_memory() -> None:
    """The pool of a long context gives way where the memory does not hold it."""
    long = replace(SMALL, max_position=131072)
    # 1 GiB of weights becomes 2 in float32; a token takes 64 KiB; half of what is free is taken.
    assert pool_tokens(ON_CPU, long, 8 * GIB) == 2 * GIB // (64 << 10)
    given = replace(ON_CPU, memory_bytes=CPU_PROCESS_BYTES + 4 * GIB)
    assert pool_tokens(given, long, None) == 2 * GIB // (64 << 10)
    assert pool_tokens(ON_CPU, long, 0) == MIN_CPU_POOL_TOKENS


@pytest.mark.parametrize(
    ("max_model_len", "max_position", "length"),
    [(None, 8192, None), (1000, 8192, 1006), (8192, 8192, 8192), (9000, 8192, 8192), (9, None, 15)],
)
def test_context_length(
    max_model_len: int | None, max_position: int | None, length: int | None
) -> None:
    """The context is what was asked for and what SGLang takes off, within the model's own."""
    settings = replace(ON_CPU, max_model_len=max_model_len)
    assert context_length(settings, replace(SMALL, max_position=max_position)) == length


@pytest.mark.parametrize("page_size", [1, 16, 32, 48, 1024])
@pytest.mark.parametrize("settings", [ON_CPU, ON_GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("asked", [None, 100, 4096])
def test_prefill_in_whole_pages(
    settings: SglangSettings, page_size: int, asked: int | None
) -> None:
    """Prompts are read in pieces of whole pages, or SGLang refuses to start."""
    tokens = prefill_tokens(replace(settings, page_size=page_size, chunked_prefill_size=asked))
    # SGLang's own choices on a GPU are powers of two of at least 2048.
    assert (tokens or 2048) % page_size == 0
    assert asked is None or tokens is not None


def test_share_of_a_gpu() -> None:
    """A limit becomes the share of weights and pool in what is free at the start."""
    settings = replace(ON_GPU, memory_bytes=40 * GIB)
    fraction = memory_fraction(settings, 80 * GIB)
    assert fraction is not None
    static = fraction * 80 * GIB
    assert abs(static + work_bytes(settings) - 40 * GIB) < 80 * GIB * 1e-4
    # 512 + 1.5 x 4096 + 2 x 16 + 512 + 128 MiB
    assert work_bytes(settings) == 7328 << 20


def test_no_limit_no_share() -> None:
    """Without a limit, or without knowing what is free, SGLang decides."""
    assert memory_fraction(ON_GPU, 80 * GIB) is None
    assert memory_fraction(replace(ON_GPU, memory_bytes=40 * GIB), None) is None
