"""NVML's answers on a machine with NVIDIA GPUs, for machines that have none."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
from tokenwire.server.machine.gpus import Gpu


class ScriptedDriver:
    """A driver whose GPUs do what a test says: the n-th has the number n, and its UUIDs."""

    def __init__(self, gpus: Sequence[Gpu], uuids: Mapping[str, int]) -> None:
        self._gpus = list(gpus)
        self._uuids = uuids
        self.utilizations: dict[int, int] = {}  # of others it is not told
        self.lost = set[int]()
        self.answers = threading.Event()
        self.answers.set()
        self.hangs = threading.Event()
        self.num_open = 0

    def fill(self, number: int, free_bytes: int) -> None:
        """Leaves this much of a GPU's memory free."""
        self._gpus[number] = replace(self._gpus[number], free_bytes=free_bytes)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Answers in the place of NVML."""
        for name in dir(self):
            if name.startswith("nvml"):
                monkeypatch.setattr(pynvml, name, getattr(self, name))

    def nvmlInit(self) -> None:
        self.num_open += 1

    def nvmlShutdown(self) -> None:
        self.num_open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self._gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index >= len(self._gpus):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:
        if uuid not in self._uuids:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self._uuids[uuid]

    def nvmlDeviceGetName(self, handle: int) -> str:
        return self._gpus[handle].name

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        self._check(handle)
        gpu = self._gpus[handle]
        return SimpleNamespace(total=gpu.total_bytes, free=gpu.free_bytes)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        if handle not in self.utilizations:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(gpu=self.utilizations[handle], memory=0)

    def _check(self, handle: int) -> None:
        assert self.num_open > 0, "NVML is closed"
        if not self.answers.is_set():
            self.hangs.set()
            self.answers.wait(60)
        if handle in self.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)


def answer_as(
    monkeypatch: pytest.MonkeyPatch, gpus: Sequence[Gpu], uuids: Mapping[str, int]
) -> ScriptedDriver:
    """Lets NVML list `gpus`, the n-th under the number n, and under its UUID where it has one."""
    driver = ScriptedDriver(gpus, uuids)
    driver.install(monkeypatch)
    return driver
