"""CPUs and memory of this process, after the limits of a container."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from tokenwire.server.machine import host_resources
from tokenwire.server.machine.host_resources import HostResources, measure_host

GIB = 1 << 30
VERSION_2 = {
    "cpu.max": "150000 100000",
    "memory.max": str(GIB),
    "memory.current": str(GIB // 2),
    "memory.stat": f"anon 5\ninactive_file {GIB // 4}\n",
}
VERSION_1 = {
    "cpu/cpu.cfs_quota_us": "150000",
    "cpu/cpu.cfs_period_us": "100000",
    "memory/memory.limit_in_bytes": str(GIB),
    "memory/memory.usage_in_bytes": str(GIB // 2),
    "memory/memory.stat": f"inactive_file {GIB // 4}\n",
}
UNLIMITED = {"cpu.max": "max 100000", "memory.max": "max", "memory.current": str(GIB)}


def measure(
    monkeypatch: pytest.MonkeyPatch, folder: Path, files: Mapping[str, str]
) -> HostResources:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    monkeypatch.setattr(host_resources, "_CGROUP", folder)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(host_resources, "_meminfo", lambda _: 8 * GIB // 1024)
    return measure_host()


@pytest.mark.parametrize("files", [VERSION_1, VERSION_2], ids=["version 1", "version 2"])
def test_limits_of_a_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: Mapping[str, str]
) -> None:
    """Whole CPUs of the quota count, and memory that is not used or gives way."""
    assert measure(monkeypatch, tmp_path, files) == HostResources(1, GIB * 3 // 4)


@pytest.mark.parametrize("files", [{}, UNLIMITED], ids=["no container", "no limits"])
def test_whole_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: Mapping[str, str]
) -> None:
    """Without limits the CPUs of the process count, and what the kernel calls available."""
    assert measure(monkeypatch, tmp_path, files) == HostResources(8, 8 * GIB)
