"""Who is refused while the memory of a GPU is nearly full."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

import structlog

from ..contract.errors import GpuMemoryFull
from ..machine.gpus import GpuReading
from .served_model import ServedModel

_logger = structlog.get_logger(__name__)


class GpuPressure:
    """Refuses requests for models on a GPU of whose memory more than a percentage is in use.

    `used_share` is the part of the fullest GPU's memory that was last found in use, in [0, 1]; None
    where none is judged.

    An engine reserves its KV pool when it starts, and fills it as requests run: what is free in a
    pool of ours is free. A GPU is not judged while that is not known.

        pressure = GpuPressure(models, threshold_percent=95.0)
        pressure.update(readings)   # on the event loop, after every reading of the GPUs
    """

    def __init__(self, models: Iterable[ServedModel], threshold_percent: float) -> None:
        self._models = tuple(models)
        self._threshold_percent = threshold_percent
        self._refused = frozenset[str]()
        self.used_share: float | None = None

    def update(self, readings: Sequence[GpuReading]) -> None:
        """Refuses or takes requests for each model as its GPUs are now."""
        judged = {each.gpu_id: each.used_percent for each in self._less_free_pools(readings)}
        self.used_share = max(judged.values()) / 100 if judged else None
        full = {
            gpu_id: percent
            for gpu_id, percent in judged.items()
            if percent > self._threshold_percent
        }
        refused = dict[str, float]()
        for model in self._models:
            percents = [full[gpu_id] for gpu_id in _gpu_ids(model) if gpu_id in full]
            if percents and model.is_serving:
                refused[model.model_id] = max(percents)
                error = partial(GpuMemoryFull, max(percents), self._threshold_percent)
                model.admission.refuse(error)
            elif model.model_id in self._refused:
                model.admission.take()
        self._log(refused)
        self._refused = frozenset(refused)

    def _less_free_pools(self, readings: Sequence[GpuReading]) -> list[GpuReading]:
        """Takes the free part of our own pools off; leaves out GPUs of which it is not known."""
        free = {reading.gpu_id: 0 for reading in readings}
        unknown = set[str]()
        for model in self._models:
            # While an engine starts or ends, nobody can say what of its memory is its pool.
            if model.view.progress is not None:
                unknown.update(_gpu_ids(model) or (free if model.view.info is None else ()))
            if not model.is_serving:
                continue
            free_bytes = _free_pool_bytes(model)
            for gpu_id in _gpu_ids(model):
                if free_bytes is None:
                    unknown.add(gpu_id)
                elif gpu_id in free:
                    free[gpu_id] += free_bytes
        return [
            replace(each, used_bytes=each.used_bytes - free[each.gpu_id])
            for each in readings
            if each.gpu_id not in unknown
        ]

    def _log(self, refused: dict[str, float]) -> None:
        for model_id in refused.keys() - self._refused:
            _logger.warning(
                "gpu_memory_full",
                model=model_id,
                used_percent=round(refused[model_id], 1),
                limit_percent=self._threshold_percent,
            )
        for model_id in self._refused - refused.keys():
            _logger.info("gpu_memory_eased", model=model_id)


def _gpu_ids(model: ServedModel) -> tuple[str, ...]:
    info = model.view.info
    return info.gpu_ids if info is not None else ()


def _free_pool_bytes(model: ServedModel) -> int | None:
    info, status = model.view.info, model.status
    if info is None or info.kv_pool_bytes is None or status is None or status.kv_usage is None:
        return None
    return int(info.kv_pool_bytes * max(0.0, 1 - status.kv_usage))
