"""NVML's answers on a machine with NVIDIA GPUs, for machines that have none."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pynvml
import pytest
from tokenwire.server.machine.gpus import Gpu


def answer_as(monkeypatch: pytest.MonkeyPatch, gpus: Sequence[Gpu], uuids: dict[str, int]) -> None:
    """Lets NVML list `gpus`, the n-th under the number n, and under its UUID where it has one."""

    def by_index(index: int) -> Gpu:
        if index >= len(gpus):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return gpus[index]

    def by_uuid(uuid: str) -> Gpu:
        if uuid not in uuids:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return gpus[uuids[uuid]]

    for name, answer in {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: len(gpus),
        "nvmlDeviceGetHandleByIndex": by_index,
        "nvmlDeviceGetHandleByUUID": by_uuid,
        "nvmlDeviceGetName": lambda gpu: gpu.name,
        "nvmlDeviceGetMemoryInfo": lambda gpu: SimpleNamespace(
            total=gpu.total_bytes, free=gpu.free_bytes
        ),
    }.items():
        monkeypatch.setattr(pynvml, name, answer)
