from __future__ import annotations

from typing import Any

import pytest
from tokenwire.server.contract.engine_settings import Device
from tokenwire.server.engines.kit import Demand, Placement
from tokenwire.server.machine.gpus import Gpu
from tokenwire.server.preparation.placement import NoRoom, place
from tokenwire.server.settings.memory_amount import MemoryAmount

GIB = 1 << 30
HOST = 64 * GIB


def h100s(count: int) -> list[Gpu]:
    return [Gpu(str(index), "H100", 80 * GIB, 79 * GIB) for index in range(count)]


def on_gpu(
    name: str, weight_gib: float, sizes: tuple[int, ...] = (1, 2, 4, 8), **more: Any
) -> Demand:
    return Demand(name, Device.CUDA, int(weight_gib * GIB), sizes=sizes, **more)


def on_cpu(name: str, weight_gib: float, **more: Any) -> Demand:
    return Demand(name, Device.CPU, int(weight_gib * GIB), **more)


def placed(demands: list[Demand], gpus: list[Gpu], model: str) -> Placement:
    placement = place(demands, gpus, HOST)[model]
    assert isinstance(placement, Placement), placement
    return placement


@pytest.mark.parametrize(
    ("weight_gib", "count", "expected"),
    [(15, 1, 1), (15, 8, 1), (57, 2, 1), (58, 2, 2), (131, 8, 4), (300, 8, 8)],
)
def test_a_model_takes_the_fewest_gpus_that_hold_it(
    weight_gib: int, count: int, expected: int
) -> None:
    """Its weights take at most 80 % of what is usable, 57.6 GiB of an H100."""
    placement = placed([on_gpu("a/b", weight_gib)], h100s(count), "a/b")
    assert len(placement.gpu_ids) == expected


def test_a_model_alone_is_not_limited() -> None:
    """Its engine sizes itself from what is free."""
    assert placed([on_gpu("a/b", 15)], h100s(1), "a/b") == Placement(("0",), None)
    assert placed([on_cpu("a/b", 1)], [], "a/b") == Placement((), None)


def test_only_sizes_that_divide_the_model_are_used() -> None:
    """Two GPUs would hold it, but it can be cut into one or seven parts alone."""
    placement = placed([on_gpu("a/b", 100, sizes=(1, 7))], h100s(8), "a/b")
    assert len(placement.gpu_ids) == 7


def test_models_go_where_there_is_room() -> None:
    """Each gets a GPU of its own while there are enough."""
    demands = [on_gpu("a/small", 15), on_gpu("a/large", 50), on_gpu("a/middle", 30)]
    placements = {
        model: placed(demands, h100s(3), model).gpu_ids
        for model in ("a/large", "a/middle", "a/small")
    }
    assert placements == {"a/large": ("0",), "a/middle": ("1",), "a/small": ("2",)}


def test_models_on_one_gpu_share_what_their_weights_leave() -> None:
    """Each gets its weights and half of the rest of the usable 72 GiB."""
    demands = [on_gpu("a/one", 16), on_gpu("a/two", 8)]
    one, two = (placed(demands, h100s(1), model).memory_bytes for model in ("a/one", "a/two"))
    assert one == 16 * GIB + 24 * GIB
    assert two == 8 * GIB + 24 * GIB


def test_a_share_set_by_hand_wins() -> None:
    """It is given as it stands; the others share the rest."""
    demands = [
        on_gpu("a/one", 16, amount=MemoryAmount.parse("0.5")),
        on_gpu("a/two", 8),
        on_gpu("a/three", 8, amount=MemoryAmount.parse("10GiB")),
    ]
    memory = [
        placed(demands, h100s(1), model).memory_bytes for model in ("a/one", "a/two", "a/three")
    ]
    assert memory == [40 * GIB, 22 * GIB, 10 * GIB]


def test_a_model_alone_gets_the_share_set_by_hand() -> None:
    """LLM_MODEL_MEMORY also limits the only model."""
    demand = on_cpu("a/b", 1, amount=MemoryAmount.parse("0.25"))
    assert placed([demand], [], "a/b").memory_bytes == HOST // 4


def test_a_share_set_by_hand_may_be_all_there_is() -> None:
    """It is the operator's word, also beyond what is shared out by itself."""
    demand = on_cpu("a/b", 1, amount=MemoryAmount.parse("1"))
    assert placed([demand], [], "a/b").memory_bytes == HOST
    demand = on_gpu("a/b", 1, amount=MemoryAmount.parse("0.95"))
    assert placed([demand], h100s(1), "a/b").memory_bytes == int(0.95 * 80 * GIB)


@pytest.mark.parametrize("device", [on_cpu, on_gpu])
def test_a_share_that_is_more_than_there_is_says_so(device: Any) -> None:
    """The message has the share, what there is, and what to change."""
    failure = place([device("a/b", 1, amount=MemoryAmount.parse("500GiB"))], h100s(1), HOST)["a/b"]
    assert isinstance(failure, NoRoom)
    left = "64.0 GiB" if device is on_cpu else "80.0 GiB"
    assert f"LLM_MODEL_MEMORY gives it 500GiB, which is 500.0 GiB, and {left} are" in str(failure)
    assert str(failure).endswith("lower that")


def test_copies_count() -> None:
    """Two copies over two GPUs have their whole weights on each."""
    demand = on_gpu("a/b", 50, sizes=(2,), num_copies=2)
    assert placed([demand], h100s(2), "a/b").gpu_ids == ("0", "1")
    failure = place([on_gpu("a/b", 75, sizes=(2,), num_copies=2)], h100s(2), HOST)["a/b"]
    assert isinstance(failure, NoRoom)


def test_what_does_not_fit_says_so_and_leaves_the_others_alone() -> None:
    """The message has the sizes and the variables that change them."""
    demands = [on_gpu("a/huge", 900), on_gpu("a/small", 15)]
    result = place(demands, h100s(2), HOST)
    failure = result["a/huge"]
    assert isinstance(failure, NoRoom)
    for part in ("900.0 GiB", "2 GPUs", "72.0 GiB", "LLM_TP_SIZE", "LLM_MODEL_MEMORY"):
        assert part in str(failure)
    assert isinstance(result["a/small"], Placement)


def test_memory_of_the_host_is_shared_too() -> None:
    """Two models on a CPU: weights, what their engines take, and half of the rest of 80 %."""
    demands = [on_cpu("a/one", 4, fixed_bytes=GIB), on_cpu("a/two", 2)]
    usable = int(HOST * 0.8)
    one = placed(demands, [], "a/one").memory_bytes
    assert one == 5 * GIB + (usable - 7 * GIB) // 2
    failure = place([on_cpu("a/one", 60)], [], HOST)["a/one"]
    assert isinstance(failure, NoRoom)
    assert "60.0 GiB" in str(failure)


def test_cpu_and_gpu_models_do_not_share() -> None:
    """A model on the host's CPU takes nothing from a GPU."""
    demands = [on_gpu("a/one", 16), on_cpu("a/two", 2)]
    assert placed(demands, h100s(1), "a/one").memory_bytes == int(80 * GIB * 0.9)
    assert placed(demands, h100s(1), "a/two").gpu_ids == ()
