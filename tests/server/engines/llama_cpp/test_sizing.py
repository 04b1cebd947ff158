"""How llama.cpp is fitted to the machine."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenwire.server.contract.engine_settings import Device, EngineSettings
from tokenwire.server.engines.llama_cpp.sizing import TooLittleMemory, describe_cuts, size_engine
from tokenwire.server.files.formats.gguf_header import GgufHeader
from tokenwire.server.machine.host_resources import HostResources, measure_host

GIB = 1 << 30
FILE_BYTES = GIB
SETTINGS = EngineSettings(Device.CPU, max_running=8)
HEADER = GgufHeader(
    architecture="llama",
    quantization="Q4_K_M",
    trained_context_length=8_192,
    kv_bytes_per_token=65_536,
    begin_token_id=None,
    has_chat_template=True,
)


def machine(pool_tokens: int, num_cpus: int = 4) -> HostResources:
    """A machine whose memory holds the file and a KV cache of so many tokens."""
    needed = FILE_BYTES + (256 << 20) + pool_tokens * HEADER.kv_bytes_per_token
    return HostResources(num_cpus, int(needed / 0.8) + 16)


def test_trained_length_where_it_fits() -> None:
    """With memory enough each slot gets the trained length."""
    sizes = size_engine(SETTINGS, HEADER, FILE_BYTES, machine(100_000))
    assert (sizes.num_slots, sizes.context_length, sizes.pool_tokens) == (8, 8_192, 65_536)


def test_context_shrinks_first() -> None:
    """With less memory the slots share it, down to 4,096 tokens each."""
    sizes = size_engine(SETTINGS, HEADER, FILE_BYTES, machine(8 * 5_000))
    assert (sizes.num_slots, sizes.context_length) == (8, 4_864)


def test_slots_give_way_to_context() -> None:
    """Below 4,096 tokens a slot, slots are given up."""
    sizes = size_engine(SETTINGS, HEADER, FILE_BYTES, machine(3 * 4_096))
    assert (sizes.num_slots, sizes.context_length) == (3, 4_096)


def test_short_trained_length() -> None:
    """A model that was trained on less than 4,096 tokens gets no more."""
    header = replace(HEADER, trained_context_length=2_048)
    sizes = size_engine(SETTINGS, header, FILE_BYTES, machine(100_000))
    assert (sizes.num_slots, sizes.context_length) == (8, 2_048)


def test_asked_length_is_kept() -> None:
    """An asked length is given exactly, at the cost of slots."""
    settings = replace(SETTINGS, max_model_len=6_000)
    sizes = size_engine(settings, HEADER, FILE_BYTES, machine(20_000))
    assert (sizes.num_slots, sizes.context_length) == (3, 6_000)
    assert sizes.pool_tokens == 3 * 6_144


def test_asked_length_is_cut_to_trained() -> None:
    """No request may be longer than the model was trained for."""
    settings = replace(SETTINGS, max_model_len=100_000)
    sizes = size_engine(settings, HEADER, FILE_BYTES, machine(100_000))
    assert sizes.context_length == 8_192


def test_asked_pool_is_not_exceeded() -> None:
    """A KV cache of an asked size is shared by the slots."""
    settings = replace(SETTINGS, kv_pool_tokens=8 * 4_096)
    sizes = size_engine(settings, HEADER, FILE_BYTES, machine(100_000))
    assert (sizes.num_slots, sizes.context_length) == (8, 4_096)


def test_small_pool_keeps_useful_context() -> None:
    """A KV cache asked too small holds one whole context all the same."""
    settings = replace(SETTINGS, kv_pool_tokens=100)
    sizes = size_engine(settings, HEADER, FILE_BYTES, machine(100_000))
    assert sizes.pool_tokens == 8_192
    assert sizes.context_length >= 4_096


def test_too_little_memory() -> None:
    """Memory that does not hold one slot is refused with both numbers."""
    with pytest.raises(TooLittleMemory, match=r"needs 1\d\d\d MiB .* 4096 tokens, and 1\d\d\d MiB"):
        size_engine(SETTINGS, HEADER, FILE_BYTES, machine(1_000))


@pytest.mark.parametrize(("given", "free"), [(4 * GIB, 10 * GIB), (40 * GIB, 4 * GIB)])
def test_given_memory(given: int, free: int) -> None:
    """Memory that is given by hand is used to the last, as far as it is free."""
    settings = replace(SETTINGS, memory_bytes=given)
    header = replace(HEADER, trained_context_length=131_072)
    sizes = size_engine(settings, header, FILE_BYTES, HostResources(4, free))
    used = FILE_BYTES + (256 << 20) + sizes.pool_tokens * header.kv_bytes_per_token
    assert 3.7 * GIB < used <= 4 * GIB


@pytest.mark.parametrize(
    ("given", "free", "sentence"),
    [
        (
            GIB,
            10 * GIB,
            r"needs 1\d\d\d MiB .* its share is 1024 MiB: raise it in LLM_MODEL",
        ),
        (8 * GIB, GIB, r"of its share of 8192 MiB \(LLM_MODEL_MEMORY\) only 1024 MiB are free"),
    ],
)
def test_too_little_given_memory(given: int, free: int, sentence: str) -> None:
    """Memory that is given by hand and does not do is told with the variable and the numbers."""
    with pytest.raises(TooLittleMemory, match=sentence):
        size_engine(
            replace(SETTINGS, memory_bytes=given), HEADER, FILE_BYTES, HostResources(4, free)
        )


# Llama-3.1-8B-Instruct-Q4_K_M.gguf: 32 layers, 8 KV heads of 128, in float16.
EIGHT_B = replace(HEADER, trained_context_length=131_072, kv_bytes_per_token=32 * 8 * 128 * 2 * 2)
EIGHT_B_FILE_BYTES = 4_920_739_232


@pytest.mark.parametrize(
    ("free_gib", "num_slots", "context_length"),
    [(8, 3, 4_096), (16, 10, 6_400), (32, 10, 16_896), (64, 10, 37_888)],
)
def test_eight_billion_parameters(free_gib: int, num_slots: int, context_length: int) -> None:
    """A long-context 8B model takes what the machine has, not 160 GiB for ten full contexts."""
    settings = EngineSettings(Device.CPU, max_running=10)
    machine = HostResources(4, free_gib * GIB)
    sizes = size_engine(settings, EIGHT_B, EIGHT_B_FILE_BYTES, machine)
    assert (sizes.num_slots, sizes.context_length) == (num_slots, context_length)
    kv_bytes = sizes.pool_tokens * EIGHT_B.kv_bytes_per_token
    assert EIGHT_B_FILE_BYTES + kv_bytes <= 0.8 * free_gib * GIB


def test_old_context_size() -> None:
    """A pool of the old default, 1,024 tokens a request, leaves normal requests their room."""
    settings = EngineSettings(Device.CPU, max_running=10, kv_pool_tokens=10 * 1_024)
    sizes = size_engine(settings, EIGHT_B, EIGHT_B_FILE_BYTES, HostResources(4, 32 * GIB))
    assert sizes.context_length >= 4_096
    assert sizes.num_slots == 10


def test_recurrent_model() -> None:
    """A model without a KV cache gets every slot at its trained length."""
    header = replace(HEADER, kv_bytes_per_token=0)
    sizes = size_engine(SETTINGS, header, FILE_BYTES, machine(100))
    assert (sizes.num_slots, sizes.context_length) == (8, 8_192)


@pytest.mark.parametrize(("num_cpus", "num_threads"), [(1, 1), (2, 1), (8, 7)])
def test_threads_leave_a_cpu(num_cpus: int, num_threads: int) -> None:
    """One CPU is left to the rest, where there is more than one."""
    sizes = size_engine(SETTINGS, HEADER, FILE_BYTES, machine(100_000, num_cpus))
    assert sizes.num_threads == num_threads


def test_asked_threads() -> None:
    """An asked number of threads is kept."""
    settings = replace(SETTINGS, num_threads=16)
    assert size_engine(settings, HEADER, FILE_BYTES, machine(100_000)).num_threads == 16


def test_this_machine_has_something() -> None:
    """The machine that runs this has a CPU and memory."""
    measured = measure_host()
    assert measured.num_cpus >= 1
    assert measured.available_bytes > 1 << 28


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (SETTINGS, []),
        (
            replace(SETTINGS, max_model_len=100_000),
            ["LLM_MAX_MODEL_LEN=100000 becomes 8192, the longest context that the model knows"],
        ),
        (
            replace(SETTINGS, kv_pool_tokens=8_192, max_model_len=8_192),
            [f"LLM_MAX_CONCURRENT_REQUESTS={SETTINGS.max_running} becomes 1: the KV cache"],
        ),
    ],
)
def test_what_becomes_smaller_is_told(settings: EngineSettings, told: list[str]) -> None:
    """A limit that is asked for and cannot be had is told with what it becomes."""
    sizes = size_engine(settings, HEADER, FILE_BYTES, machine(100_000))
    notices = describe_cuts(settings, sizes)
    assert len(notices) == len(told)
    assert all(part in notice for part, notice in zip(told, notices, strict=True))
