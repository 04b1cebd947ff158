"""The processes of a service, as the kernel knows them."""

from __future__ import annotations

import asyncio
import os
import select
from pathlib import Path


def descendants(pid: int) -> dict[int, str]:
    """Command lines of the process and of all that it started, by process id."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        parents[int(entry.name)] = int(fields[1])
    found = {pid} & parents.keys()
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {each: _command(each) for each in found}


async def wait_ended(pids: dict[int, str], timeout_s: float) -> None:
    """Waits until none of the processes lives, whoever their parent is."""

    def wait() -> None:
        for pid, command in pids.items():
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                ended, _, _ = select.select([descriptor], [], [], timeout_s)
                assert ended, f"{command} lives on"
            finally:
                os.close(descriptor)

    await asyncio.to_thread(wait)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""
