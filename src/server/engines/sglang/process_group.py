"""The processes of a group, and when they are gone."""

from __future__ import annotations

import contextlib
import os
import select
import time
from pathlib import Path


def group_members(group: int) -> list[int]:
    """Returns the ids of all processes of a group, also of those that have ended as zombies."""
    members: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                if os.getpgid(int(entry.name)) == group:
                    members.append(int(entry.name))
    return members


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
