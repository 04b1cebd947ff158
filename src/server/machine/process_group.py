"""The processes of a group: which they are, what they do, and when they are gone."""

from __future__ import annotations

import contextlib
import os
import select
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
_STOPPED: Final = frozenset("Tt")  # by a signal, or by a debugger
# Places in /proc/PID/stat behind the name, which may hold anything.
_STATE, _MAJOR_FAULTS, _USER_TIME, _SYSTEM_TIME = 0, 9, 11, 12


@dataclass(frozen=True, slots=True)
class GroupActivity:
    """What the processes of a group have done since they began.

    `num_page_reads` counts the pages that they waited for, of a file or of swap. `num_stopped` are
    the processes that a signal or a debugger stopped: they do nothing until they are continued.
    """

    cpu_s: float
    num_page_reads: int
    num_stopped: int


def group_members(group: int) -> list[int]:
    """Returns the ids of all processes of a group, also of those that have ended as zombies."""
    members: list[int] = []
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if os.getpgid(int(folder.name)) == group:
                members.append(int(folder.name))
    return members


def observe_group(group: int) -> GroupActivity | None:
    """Looks at every process of a group; None: this system does not tell."""
    ticks = num_page_reads = num_stopped = num_found = 0
    for pid in group_members(group):
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        num_found += 1
        ticks += int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])
        num_page_reads += int(fields[_MAJOR_FAULTS])
        num_stopped += fields[_STATE] in _STOPPED
    if not num_found:
        return None
    return GroupActivity(ticks / _CLOCK_TICKS, num_page_reads, num_stopped)


def wait_group_gone(group: int, timeout_s: float) -> bool:
    """Waits until each process of a group has ended, whoever its parent is; blocks.

    Nobody may have waited for the leader yet, or the id may be another group's. Returns whether all
    have ended within `timeout_s`.
    """
    end_s = time.monotonic() + timeout_s
    return all(_wait_gone(pid, end_s) for pid in group_members(group))


def _wait_gone(pid: int, end_s: float) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(max(0.0, end_s - time.monotonic()) * 1000))
    finally:
        os.close(descriptor)
