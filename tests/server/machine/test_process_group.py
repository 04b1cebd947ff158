from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator

import pytest_asyncio
from tokenwire.server.machine.process_group import GroupActivity, observe_group

GUARD_S = 45.0
# Burns CPU time as asked, in a child of the group's leader.
WORKER = """
import os, sys, time
if os.fork() == 0:
    for line in sys.stdin:
        end = time.process_time() + 0.2
        while time.process_time() < end: pass
        print("done", flush=True)
else:
    os.wait()
"""


@pytest_asyncio.fixture
async def group() -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def observe(group: int) -> GroupActivity:
    activity = observe_group(group)
    assert activity is not None
    return activity


async def work(group: asyncio.subprocess.Process) -> None:
    assert group.stdin is not None
    assert group.stdout is not None
    group.stdin.write(b"go\n")
    assert await group.stdout.readline()


async def test_cpu_time_of_all_processes_counts(group: asyncio.subprocess.Process) -> None:
    """What a child of the leader computes is the group's."""
    await work(group)
    before = observe(group.pid)
    await work(group)
    assert observe(group.pid).cpu_s - before.cpu_s >= 0.15


async def test_stopped_processes_are_told(group: asyncio.subprocess.Process) -> None:
    """Until they are continued."""
    await work(group)
    assert observe(group.pid).num_stopped == 0
    os.killpg(group.pid, signal.SIGSTOP)
    deadline_s = time.monotonic() + GUARD_S
    while observe(group.pid).num_stopped < 2:  # the signal takes a moment
        assert time.monotonic() < deadline_s
    os.killpg(group.pid, signal.SIGCONT)
    await work(group)
    assert observe(group.pid).num_stopped == 0


def test_group_that_is_gone_tells_nothing() -> None:
    assert observe_group(-1) is None
