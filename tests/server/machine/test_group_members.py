"""What counts as gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tokenwire.server.machine.process_group import group_members, wait_group_gone

from ..engines.contract import HANG_S

# A leader and its child, which says nothing when it ends.
LEADER = """
import os, sys, time
if os.fork() == 0:
    time.sleep(1000)
print("ready", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def leader() -> Iterator[subprocess.Popen[bytes]]:
    """A group of two; nobody has waited for its leader."""
    process = subprocess.Popen(
        [sys.executable, "-c", LEADER], stdout=subprocess.PIPE, start_new_session=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
        os.killpg(process.pid, signal.SIGKILL)


def test_members(leader: subprocess.Popen[bytes]) -> None:
    """A group has its leader and who was started by it, and nobody else."""
    members = group_members(leader.pid)
    assert leader.pid in members
    assert len(members) == 2
    assert os.getpid() not in members


def test_one_lives_on(leader: subprocess.Popen[bytes]) -> None:
    """A group of which one has ended is not gone, and the time for it is bounded."""
    os.kill(leader.pid, signal.SIGKILL)
    assert not wait_group_gone(leader.pid, 0.0)


def test_all_end(leader: subprocess.Popen[bytes]) -> None:
    """A group is gone when all have ended, its leader as a zombie that nobody has counted yet."""
    os.killpg(leader.pid, signal.SIGKILL)
    assert wait_group_gone(leader.pid, HANG_S)
    assert leader.pid in group_members(leader.pid)
