"""How many threads, slots and tokens of context a model gets on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...contract.engine_settings import EngineSettings
from ...files.formats.gguf_header import GgufHeader
from ...machine.host_resources import HostResources

MIN_CONTEXT_LENGTH: Final = 4_096
_FALLBACK_TRAINED_LENGTH: Final = 4_096
_CONTEXT_STEP: Final = 256  # llama.cpp rounds a sequence's cache up to this
_MEMORY_SHARE: Final = 0.8  # of what is free: the rest of the machine lives on
_WORK_BYTES: Final = 256 << 20  # compute buffers, code and the HTTP server of the child


class TooLittleMemory(Exception):
    """The memory does not hold the model with one usable slot. The message has the numbers."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the child is started with."""

    num_threads: int
    num_slots: int
    context_length: int

    @property
    def pool_tokens(self) -> int:
        """The KV cache's size over all slots, in tokens."""
        return self.num_slots * _round_up(self.context_length)


def size_engine(
    settings: EngineSettings, header: GgufHeader, file_bytes: int, machine: HostResources
) -> Sizes:
    """Fits threads, slots and context to the machine, giving up slots before context.

    Raises:
        TooLittleMemory: not even one slot of the smallest useful context fits.
    """
    trained = header.trained_context_length or _FALLBACK_TRAINED_LENGTH
    pool_tokens = _pool_tokens(settings, header, file_bytes, machine)
    if settings.max_model_len is not None:
        context_length = least = min(settings.max_model_len, trained)
    else:
        least = min(trained, MIN_CONTEXT_LENGTH)
        share = pool_tokens // settings.max_running // _CONTEXT_STEP * _CONTEXT_STEP
        context_length = min(trained, max(least, share))
    num_slots = min(settings.max_running, pool_tokens // _round_up(context_length))
    if num_slots < 1:
        needed = file_bytes + _WORK_BYTES + _round_up(least) * header.kv_bytes_per_token
        raise TooLittleMemory(
            f"the model needs {_gib(needed)} for one request of {least} tokens, and "
            f"{_describe_memory(settings, machine)}"
        )
    # The decode threads spin at barriers: with a thread on every CPU, whatever else runs there
    # stops all of them (2 threads on 2 busy CPUs: 10 to 50 times slower than 1).
    num_threads = settings.num_threads or max(1, machine.num_cpus - 1)
    return Sizes(num_threads, num_slots, context_length)


def describe_cuts(settings: EngineSettings, sizes: Sizes) -> list[str]:
    """Says, one sentence each, what became smaller than it was asked for."""
    notices: list[str] = []
    asked = settings.max_model_len
    if asked is not None and sizes.context_length < asked:
        notices.append(
            f"LLM_MAX_MODEL_LEN={asked} becomes {sizes.context_length}, the longest context that "
            "the model knows"
        )
    if sizes.num_slots < settings.max_running:
        notices.append(
            f"LLM_MAX_CONCURRENT_REQUESTS={settings.max_running} becomes {sizes.num_slots}: the KV "
            f"cache has room for that many requests of {sizes.context_length} tokens; a shorter "
            "LLM_MAX_MODEL_LEN, or more memory, makes room for more"
        )
    return notices


def _pool_tokens(
    settings: EngineSettings, header: GgufHeader, file_bytes: int, machine: HostResources
) -> int:
    trained = header.trained_context_length or _FALLBACK_TRAINED_LENGTH
    free_bytes = _usable_bytes(settings, machine) - file_bytes - _WORK_BYTES
    if header.kv_bytes_per_token:
        fitting = max(0, free_bytes) // header.kv_bytes_per_token
    else:
        # A recurrent model: its state does not grow with the context.
        fitting = settings.max_running * _round_up(trained) if free_bytes > 0 else 0
    if settings.kv_pool_tokens is None:
        return fitting
    # A pool below one whole context would refuse what the model can do.
    return min(fitting, max(settings.kv_pool_tokens, _round_up(trained)))


def _usable_bytes(settings: EngineSettings, machine: HostResources) -> int:
    if settings.memory_bytes is None:
        return int(machine.available_bytes * _MEMORY_SHARE)
    return min(settings.memory_bytes, machine.available_bytes)


def _describe_memory(settings: EngineSettings, machine: HostResources) -> str:
    if settings.memory_bytes is None:
        return f"{_gib(_usable_bytes(settings, machine))} of memory can be given to it"
    if settings.memory_bytes > machine.available_bytes:
        return (
            f"of its share of {_gib(settings.memory_bytes)} (LLM_MODEL_MEMORY) only "
            f"{_gib(machine.available_bytes)} are free"
        )
    return (
        f"its share is {_gib(settings.memory_bytes)}: raise it in LLM_MODEL_MEMORY, or serve fewer "
        "models"
    )


def _round_up(num_tokens: int) -> int:
    return -(-num_tokens // _CONTEXT_STEP) * _CONTEXT_STEP


def _gib(num_bytes: float) -> str:
    if num_bytes < 10 << 30:
        return f"{num_bytes / (1 << 20):.0f} MiB"
    return f"{num_bytes / (1 << 30):.1f} GiB"
