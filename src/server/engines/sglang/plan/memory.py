"""How much memory SGLang is told to take: for its KV pool, and on a GPU for everything."""

from __future__ import annotations

from typing import Final

from ....contract.engine_settings import Device
from ..settings import SglangSettings
from ..versions import has_cpu_pages
from .checkpoint import Checkpoint

CPU_POOL_TOKENS: Final = 32768
"""Enough for eight requests of 4096 tokens; SGLang would take most of the machine's memory."""

MIN_CPU_POOL_TOKENS: Final = 4096
"""Below this a pool is of no use: SGLang is then left to say that the memory is too small."""

CPU_PROCESS_BYTES: Final = 4 << 30
"""SGLang's processes with a small model: 1.2, 1.7 and 1.2 GB resident, measured."""

CONTEXT_MARGIN: Final = 6
"""SGLang's schedulers refuse prompts closer than this to the context length (`tp_worker.py`)."""

FLOAT32_MAX_BYTES: Final = 2 << 30
"""Up to this size of its files a model is computed in float32 on a CPU.

In bfloat16 the likeliest tokens of a small model often tie to the last bit, so that greedy, top_p
and min_p pick differently. Measured on SmolLM2-135M: 0.8 of the speed, twice the memory.
"""

CPU_PREFILL_TOKENS: Final = 512
"""How many prompt tokens one step may take on a CPU: it bounds how long the others wait."""

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30


NGRAM: Final = "NGRAM"
"""Its drafts are trees, which most attention kernels verify with pages of one token only; SGLang
refuses to start with larger ones."""


def page_size(settings: SglangSettings, version: str) -> int:
    """Returns the page size that can be had with SGLang of this version."""
    on_cpu = settings.device is Device.CPU
    needs_single_tokens = (
        not has_cpu_pages(version) if on_cpu else settings.speculative_algorithm.upper() == NGRAM
    )
    return 1 if needs_single_tokens else settings.page_size


def cpu_dtype(checkpoint: Checkpoint) -> str:
    """Names what a model is computed in on a CPU."""
    return "float32" if checkpoint.weight_bytes <= FLOAT32_MAX_BYTES else "bfloat16"


def context_length(settings: SglangSettings, checkpoint: Checkpoint) -> int | None:
    """Asks for a little more than wanted, which SGLang takes off again, never above the model's."""
    if settings.max_model_len is None:
        return None
    wanted = settings.max_model_len + CONTEXT_MARGIN
    return wanted if checkpoint.max_position is None else min(wanted, checkpoint.max_position)


def full_context(settings: SglangSettings, checkpoint: Checkpoint) -> int | None:
    """Counts the tokens that one request of full length takes of the pool; None where not known."""
    longest = context_length(settings, checkpoint) or checkpoint.max_position
    # SGLang never schedules a request that would fill the pool to its last page.
    return None if longest is None else longest + 2 * settings.page_size


def pool_tokens(
    settings: SglangSettings, checkpoint: Checkpoint, free_bytes: int | None
) -> int | None:
    """Decides the size of the KV pool, in whole pages; None: SGLang sizes it from memory.

    A size that is asked for is never less than one full context. SGLang takes less where the
    memory does not hold it. On a CPU, where it would take nearly all memory, a size is always
    given: one full context or `CPU_POOL_TOKENS`, no more than all requests together can use and
    than fits into the memory.
    """
    full = full_context(settings, checkpoint)
    if settings.kv_pool_tokens is not None:
        return _round_up(max(settings.kv_pool_tokens, full or 0), settings.page_size)
    if settings.device is not Device.CPU:
        return None
    wanted = max(CPU_POOL_TOKENS, full or 0)
    if full is not None:
        wanted = min(wanted, full * settings.max_running)
    fitting = _fitting_cpu_tokens(settings, checkpoint, free_bytes)
    if fitting is not None:
        wanted = min(wanted, max(fitting, MIN_CPU_POOL_TOKENS))
    return _round_up(wanted, settings.page_size)


def _fitting_cpu_tokens(
    settings: SglangSettings, checkpoint: Checkpoint, free_bytes: int | None
) -> int | None:
    if checkpoint.kv_values_per_token is None:
        return None
    if settings.memory_bytes is not None:
        room = settings.memory_bytes - CPU_PROCESS_BYTES
    elif free_bytes is not None:
        room = free_bytes // 2  # the rest is for the machine's other work
    else:
        return None
    value_bytes = 4 if cpu_dtype(checkpoint) == "float32" else 2
    # Files hold 16 bits a weight.
    weights = checkpoint.weight_bytes * value_bytes // 2
    return max(0, room - weights) // (checkpoint.kv_values_per_token * value_bytes)


def prefill_tokens(settings: SglangSettings) -> int | None:
    """Decides how many prompt tokens one step may take; None: SGLang's own choice.

    SGLang takes a multiple of the page size only. On a GPU of which the model has a part, the step
    is chosen for that part as SGLang chooses it for a GPU of that size (`memory_hook.py`).
    """
    asked = settings.chunked_prefill_size
    if asked is None:
        if settings.device is Device.CPU:
            asked = CPU_PREFILL_TOKENS
        elif settings.memory_bytes is not None:
            asked = _gpu_prefill_tokens(settings.memory_bytes)
        elif settings.page_size & (settings.page_size - 1):
            asked = (
                4096  # SGLang's own choices are powers of two, which such a page does not divide
            )
        else:
            return None
    return _round_up(asked, settings.page_size)


def _gpu_prefill_tokens(memory_bytes: int) -> int:
    if memory_bytes < 20 * _GIB:
        return 2048
    return 4096 if memory_bytes < 60 * _GIB else 8192


def work_bytes(settings: SglangSettings) -> int:
    """Estimates what SGLang takes on a GPU beside weights and KV pool, as SGLang itself does.

    From `handle_gpu_memory_settings`: 512 MiB, 1.5 MiB for each token of a prefill step (at least
    2048), 2 MiB for each request in a CUDA graph, 8 MiB for each of about 64 prefill graphs, and
    128 MiB for each GPU of the model.
    """
    tokens = max(prefill_tokens(settings) or 8192, 2048)
    return (
        512
        + tokens * 3 // 2
        + settings.max_running * 2
        + 512
        + (settings.tp_size or 1) * settings.pp_size * 128
    ) * _MIB


def memory_fraction(settings: SglangSettings, free_bytes: int | None) -> float | None:
    """Spells a limit of memory as SGLang's `mem_fraction_static`; None: no limit, or nothing known.

    That is the share for weights and KV pool of what is free on the GPU when SGLang starts, not of
    all its memory (`_profile_available_bytes`, in 0.5.17 to 0.5.23). `free_bytes` is for the GPU
    with the least.
    """
    if settings.memory_bytes is None or not free_bytes:
        return None
    fraction = (settings.memory_bytes - work_bytes(settings)) / free_bytes
    return round(min(max(fraction, 0.01), 0.95), 4)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
