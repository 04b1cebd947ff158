"""What the processes of a group do, as Linux tells it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
_STOPPED: Final = frozenset("Tt")  # by a signal, or by a debugger
# Places in /proc/PID/stat behind the name, which may hold anything.
_STATE, _GROUP, _MAJOR_FAULTS, _USER_TIME, _SYSTEM_TIME = 0, 2, 9, 11, 12


@dataclass(frozen=True, slots=True)
class GroupActivity:
    """What the processes of a group have done since they began.

    `num_page_reads` counts the pages that they waited for, of a file or of swap. `num_stopped` are
    the processes that a signal or a debugger stopped: they do nothing until they are continued.
    """

    cpu_s: float
    num_page_reads: int
    num_stopped: int


def observe_group(group: int) -> GroupActivity | None:
    """Looks at every process of a group, in about 5 ms; None: this system does not tell."""
    ticks = num_page_reads = num_stopped = num_found = 0
    for folder in _PROC.glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[_GROUP]) == group:
            num_found += 1
            ticks += int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])
            num_page_reads += int(fields[_MAJOR_FAULTS])
            num_stopped += fields[_STATE] in _STOPPED
    if not num_found:
        return None
    return GroupActivity(ticks / _CLOCK_TICKS, num_page_reads, num_stopped)
