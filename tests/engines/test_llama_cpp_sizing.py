"""How llama.cpp is fitted to the machine."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenwire.server.engine_settings import Device, EngineSettings
from tokenwire.server.gguf_header import GgufHeader
from tokenwire.server.engines.llama_cpp.machine import Machine, measure_machine
from tokenwire.server.engines.llama_cpp.sizing import DoesNotFit, size_engine

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


def machine(pool_tokens: int, num_cpus: int = 4) -> Machine:
    """A machine whose memory holds the file and a KV cache of so many tokens."""
    needed = FILE_BYTES + (256 << 20) + pool_tokens * HEADER.kv_bytes_per_token
    return Machine(num_cpus, int(needed / 0.8) + 16)


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
    with pytest.raises(DoesNotFit, match=r"needs 1\.5 GiB .* 4096 tokens, and 1\.3 GiB"):
        size_engine(SETTINGS, HEADER, FILE_BYTES, machine(1_000))


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
    measured = measure_machine()
    assert measured.num_cpus >= 1
    assert measured.available_bytes > 1 << 28
