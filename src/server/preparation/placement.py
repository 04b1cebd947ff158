"""Which model runs on which GPUs, and how much of their memory it may take.

The rule. A model whose share is set by hand (`LLM_MODEL_MEMORY`) gets that, of all there is. The
others get their weights, and an equal part of what is then left on each device. Models are given
their GPUs in the order of their weights, the largest first: the fewest GPUs that hold one, those
with most room. A single model with no share set is not limited: its engine sizes itself from what
is free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ..contract.engine_settings import Device
from ..engines.kit import Demand, Placement
from ..machine.gpus import Gpu

USABLE_GPU_SHARE: Final = 0.9
"""Of a GPU's memory; the rest is left to the driver, CUDA graphs and fragments."""

MAX_WEIGHT_SHARE: Final = 0.8
"""Of the usable memory, for the weights of a model that picks its number of GPUs by itself: below
that there is room for a KV cache that is worth having."""

USABLE_HOST_SHARE: Final = 0.8
"""Of the memory that is free on the host when the first model is placed."""

_HOST: Final = ""
_GIB: Final = 1 << 30


class NoRoom(Exception):
    """The devices do not hold a model; the message has the numbers and what to change."""


def place(
    demands: Sequence[Demand], gpus: Sequence[Gpu], host_bytes: int
) -> Mapping[str, Placement | NoRoom]:
    """Places every model; `host_bytes` is the free memory of the host.

    What does not fit does not take the others down: its value is the reason.
    """
    devices = {gpu.gpu_id: int(gpu.total_bytes * USABLE_GPU_SHARE) for gpu in gpus}
    totals = {gpu.gpu_id: gpu.total_bytes for gpu in gpus}
    devices[_HOST] = int(host_bytes * USABLE_HOST_SHARE)
    totals[_HOST] = host_bytes
    placed: dict[str, tuple[Demand, tuple[str, ...]]] = {}
    result: dict[str, Placement | NoRoom] = {}
    room = dict(devices)
    for demand in sorted(demands, key=lambda demand: -demand.weight_bytes):
        try:
            ids = _choose(demand, room, totals)
        except NoRoom as error:
            result[demand.model_id] = error
            continue
        placed[demand.model_id] = (demand, ids)
        for device in ids:
            room[device] -= _least(demand, len(ids), totals[device])
    # Only what nobody set by hand is shared.
    sharers = {
        device: sum(device in ids and demand.amount is None for demand, ids in placed.values())
        for device in room
    }
    is_alone = len(demands) == 1 and demands[0].amount is None
    for model_id, (demand, ids) in placed.items():
        memory: int | None = None
        if not is_alone:
            memory = min(
                _least(demand, len(ids), totals[device])
                + (max(0, room[device]) // sharers[device] if demand.amount is None else 0)
                for device in ids
            )
        gpu_ids = () if ids == (_HOST,) else ids
        result[model_id] = Placement(gpu_ids, memory)
    return result


def _choose(demand: Demand, room: Mapping[str, int], totals: Mapping[str, int]) -> tuple[str, ...]:
    if demand.device is Device.CPU:
        least = _least(demand, 1, totals[_HOST])
        limit = _limit(demand, room[_HOST], totals[_HOST], USABLE_HOST_SHARE)
        if least > limit:
            raise NoRoom(_too_much(demand, least, limit))
        return (_HOST,)
    gpu_ids = [gpu_id for gpu_id in room if gpu_id != _HOST]
    for size in demand.sizes:
        # Stable: of GPUs with equal room the first ones.
        best = sorted(gpu_ids, key=lambda gpu_id: -room[gpu_id])[:size]
        if len(best) < size:
            continue
        if all(_holds(demand, size, room[gpu_id], totals[gpu_id]) for gpu_id in best):
            return tuple(sorted(best, key=gpu_ids.index))
    emptiest = max(gpu_ids, key=lambda gpu_id: room[gpu_id])
    most = room[emptiest]
    if demand.amount is not None:
        limit = _limit(demand, most, totals[emptiest], USABLE_GPU_SHARE)
        raise NoRoom(_too_much(demand, demand.amount.of(totals[emptiest]), limit))
    sizes = " or ".join(str(size) for size in demand.sizes)
    raise NoRoom(
        f"its weights of {_gib(demand.weight_bytes)} do not fit on {sizes} of {len(gpu_ids)} GPUs, "
        f"the emptiest of which has {_gib(most)} left for it; use more GPUs (LLM_TP_SIZE, "
        "CUDA_VISIBLE_DEVICES), a quantised checkpoint, fewer models, or set LLM_MODEL_MEMORY"
    )


def _holds(demand: Demand, size: int, room: int, total: int) -> bool:
    if demand.amount is not None:
        return demand.amount.of(total) <= _limit(demand, room, total, USABLE_GPU_SHARE)
    # A fixed number of GPUs is the operator's word: only what cannot be is refused.
    share = MAX_WEIGHT_SHARE if len(demand.sizes) > 1 else 1.0
    shard = demand.shard_bytes(size)
    return shard <= room * share and shard + demand.fixed_bytes <= room


def _least(demand: Demand, size: int, total: int) -> int:
    if demand.amount is not None:
        return demand.amount.of(total)
    return demand.shard_bytes(size) + demand.fixed_bytes


def _limit(demand: Demand, room: int, total: int, usable_share: float) -> int:
    """What a model may take: all that is left, where its share was set by hand."""
    return room if demand.amount is None else room + total - int(total * usable_share)


def _too_much(demand: Demand, least: int, limit: int) -> str:
    if demand.amount is None:
        return (
            f"it needs {_gib(least)} of memory, and {_gib(limit)} are left for it: serve fewer "
            "models, or lower the shares of others in LLM_MODEL_MEMORY"
        )
    return (
        f"LLM_MODEL_MEMORY gives it {demand.amount}, which is {_gib(least)}, and {_gib(limit)} are "
        "left for it: lower that"
    )


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / _GIB:.1f} GiB"


class Placements:
    """The places of a server's models: all are known before the first is given out."""

    def __init__(
        self, find_gpus: Callable[[], Sequence[Gpu]], measure_host: Callable[[], int]
    ) -> None:
        self._find_gpus = find_gpus
        self._measure_host = measure_host
        self._demands: dict[str, Demand] = {}
        self._placed: Mapping[str, Placement | NoRoom] | None = None

    def add(self, demand: Demand) -> None:
        """Records what a model needs. Must come before the first `of`."""
        if self._placed is not None:
            raise RuntimeError(f"the models are placed already, without {demand.model_id}")
        self._demands[demand.model_id] = demand

    def of(self, model_id: str) -> Placement:
        """Returns the place of a model whose demand was added; the same each time.

        Raises:
            NoRoom: there is no room for it.
        """
        if self._placed is None:
            demands = tuple(self._demands.values())
            self._placed = place(demands, self._find_gpus(), self._measure_host())
        placement = self._placed[model_id]
        if isinstance(placement, NoRoom):
            raise placement
        return placement
