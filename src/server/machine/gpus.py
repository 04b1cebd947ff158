"""The NVIDIA GPUs of this machine, as a program started with an environment would see them."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import pynvml as untyped_nvml

_nvml: Any = untyped_nvml  # its annotations are partial
# What CUDA itself takes for "none"; it also ends its list at the first GPU that is not there.
_HIDDEN: Final = ("", "-1", "none", "NoDevFiles")
VISIBLE_DEVICES: Final = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    `gpu_id` is what `CUDA_VISIBLE_DEVICES` calls it: a number of `nvidia-smi`, or a UUID where the
    operator gave one.
    """

    gpu_id: str
    name: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class GpuReading:
    """What one GPU is doing, under the id of its `Gpu`.

    `used_bytes` is what all programs and the driver hold together. `utilization_percent` is the
    part of the last moments in which the GPU computed; None where it is not told (MIG).
    """

    gpu_id: str
    total_bytes: int
    used_bytes: int
    utilization_percent: float | None = None

    @property
    def used_percent(self) -> float:
        """The part of the memory that is in use, in percent."""
        return 100 * self.used_bytes / self.total_bytes if self.total_bytes else 0.0


class OpenGpu:
    """A GPU that can be read again and again, while NVML is open."""

    def __init__(self, gpu: Gpu, handle: Any) -> None:  # an opaque pointer
        self.gpu = gpu
        self._handle = handle

    def read(self) -> GpuReading | None:
        """Reads it now; None where the driver has lost it. Blocks for as long as the driver."""
        try:
            memory = _nvml.nvmlDeviceGetMemoryInfo(self._handle)
        except _nvml.NVMLError:
            return None
        utilization: float | None = None
        with suppress(_nvml.NVMLError):
            utilization = float(_nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu)
        total, free = int(memory.total), int(memory.free)
        return GpuReading(self.gpu.gpu_id, total, total - free, utilization)


def visible_gpus(environment: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """Lists the GPUs that `environment` lets a program see; empty without a driver.

    Asks NVML, which comes with the driver and, unlike CUDA itself, leaves no context on the GPU.
    """
    with open_gpus(environment) as gpus:
        return tuple(each.gpu for each in gpus)


@contextmanager
def open_gpus(environment: Mapping[str, str] = os.environ) -> Generator[tuple[OpenGpu, ...]]:
    """Opens the GPUs that `visible_gpus` lists, for the body's time."""
    visible = environment.get(VISIBLE_DEVICES)
    words = None if visible is None else [word.strip() for word in visible.split(",")]
    if words is not None and words[0] in _HIDDEN:
        yield ()
        return
    try:
        _nvml.nvmlInit()
    except _nvml.NVMLError:
        yield ()
        return
    try:
        if words is None:
            words = [str(index) for index in range(_nvml.nvmlDeviceGetCount())]
        yield tuple(_open_all(words))
    finally:
        _nvml.nvmlShutdown()


def describe_gpus(gpus: Sequence[Gpu]) -> str:
    """Returns one line for people: `2 x NVIDIA H100 80GB HBM3`, `no NVIDIA GPU`."""
    if not gpus:
        return "no NVIDIA GPU"
    names = list(dict.fromkeys(gpu.name for gpu in gpus))
    counts = [sum(gpu.name == name for gpu in gpus) for name in names]
    return ", ".join(
        name if count == 1 else f"{count} x {name}"
        for name, count in zip(names, counts, strict=True)
    )


def _open_all(words: Sequence[str]) -> list[OpenGpu]:
    gpus: list[OpenGpu] = []
    for word in words:
        try:
            handle = _handle(word)
            memory = _nvml.nvmlDeviceGetMemoryInfo(handle)
            name = _nvml.nvmlDeviceGetName(handle)
        except (_nvml.NVMLError, ValueError):
            break  # as CUDA does
        gpus.append(OpenGpu(Gpu(word, str(name), int(memory.total), int(memory.free)), handle))
    return gpus


def _handle(word: str) -> Any:  # an opaque pointer
    if word.isdigit():
        return _nvml.nvmlDeviceGetHandleByIndex(int(word))
    return _nvml.nvmlDeviceGetHandleByUUID(word)
