"""A host's group, and its end."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tokenwire.server.engines.sglang.front.host_process import HostProcess

from ...contract import HANG_S
from ..fixtures import group_members

# A member that keeps no pipe open, and takes a while to give its memory back when it is killed.
HOST = """
import mmap, os, socket, sys, time
if os.fork() == 0:
    held = mmap.mmap(-1, 400_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held.madvise(mmap.MADV_NOHUGEPAGE)
    for place in range(0, len(held), mmap.PAGESIZE):
        held[place] = 1
    os.close(1)
    os.close(2)
    socket.socket(fileno=int(sys.argv[1])).send(b"x")
time.sleep(1000)
"""


async def test_end_waits_for_all(tmp_path: Path) -> None:
    """After the end no process of the group is left, not even one that closed its output."""
    (tmp_path / "slow_host.py").write_text(HOST)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "TMPDIR": str(tmp_path)}
    process = HostProcess.start("slow_host", environment, "some/model")
    async with asyncio.timeout(HANG_S):
        reader, writer = await process.connect()
        assert await reader.read(1)
        await process.end()
        left = group_members(process.pid)
        writer.close()
    assert left == {}
