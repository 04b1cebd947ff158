"""The NVIDIA GPUs of this machine, as a program started with an environment would see them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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


def visible_gpus(environment: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """Lists the GPUs that `environment` lets a program see; empty without a driver.

    Asks NVML, which comes with the driver and, unlike CUDA itself, leaves no context on the GPU.
    """
    visible = environment.get(VISIBLE_DEVICES)
    words = None if visible is None else [word.strip() for word in visible.split(",")]
    if words is not None and words[0] in _HIDDEN:
        return ()
    try:
        _nvml.nvmlInit()
    except _nvml.NVMLError:
        return ()
    try:
        if words is None:
            words = [str(index) for index in range(_nvml.nvmlDeviceGetCount())]
        return tuple(_read_all(words))
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


def _read_all(words: Sequence[str]) -> list[Gpu]:
    gpus: list[Gpu] = []
    for word in words:
        try:
            handle = _handle(word)
            memory = _nvml.nvmlDeviceGetMemoryInfo(handle)
            name = _nvml.nvmlDeviceGetName(handle)
        except (_nvml.NVMLError, ValueError):
            break  # as CUDA does
        gpus.append(Gpu(word, str(name), int(memory.total), int(memory.free)))
    return gpus


def _handle(word: str) -> Any:  # an opaque pointer
    if word.isdigit():
        return _nvml.nvmlDeviceGetHandleByIndex(int(word))
    return _nvml.nvmlDeviceGetHandleByUUID(word)
