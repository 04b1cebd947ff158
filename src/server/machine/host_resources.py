"""What this process may use of the machine: CPUs and memory, also inside a container."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class HostResources:
    """CPUs and free memory, after the limits of a container."""

    num_cpus: int
    available_bytes: int


def measure_host() -> HostResources:
    """Reads affinity, cgroup limits (version 1 and 2) and /proc/meminfo."""
    return HostResources(_num_cpus(), _available_bytes())


def _num_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        num_cpus = len(os.sched_getaffinity(0))
    else:
        num_cpus = os.cpu_count() or 1
    quota = _cpu_quota()
    return num_cpus if quota is None else max(1, min(num_cpus, int(quota)))


def _cpu_quota() -> float | None:
    words = _read(_CGROUP / "cpu.max").split()
    if len(words) != 2:
        words = [
            _read(_CGROUP / "cpu/cpu.cfs_quota_us"),
            _read(_CGROUP / "cpu/cpu.cfs_period_us"),
        ]
    quota, period = (_number(word) for word in words)
    return quota / period if quota and period and quota > 0 else None


def _available_bytes() -> int:
    available = _meminfo("MemAvailable") * 1024
    if not available:
        # Not Linux: half of the memory is what the rest of the machine leaves as a rule.
        available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    for limit_file, used_file, stat_file in (
        ("memory.max", "memory.current", "memory.stat"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
        ),
    ):
        limit = _number(_read(_CGROUP / limit_file))
        used = _number(_read(_CGROUP / used_file))
        if limit is not None and used is not None:
            # File pages count as used, but give way.
            given_up = _stat(_read(_CGROUP / stat_file), "inactive_file")
            available = min(available, max(0, limit - used + given_up))
    return available


def _meminfo(key: str) -> int:
    return _stat(_read(Path("/proc/meminfo")).replace(":", " "), key)


def _stat(text: str, key: str) -> int:
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == key:
            return _number(words[1]) or 0
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
