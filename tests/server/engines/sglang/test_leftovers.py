"""What a killed SGLang leaves where nobody is left to remove it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tokenwire.private_folders import sweep

# The front and an engine's process in one group: both are killed.
FRONT = """
import mmap, os, sys
from pathlib import Path
from tokenwire.server.engines.sglang.leftovers import Leftovers
leftovers = Leftovers.make()
path = Path("/dev/shm", f"psm_tokenwire_test_{os.getpid()}")
path.write_bytes(bytes(4096))
with path.open("r+b") as file:
    held = mmap.mmap(file.fileno(), 4096)
leftovers.record(os.getpgrp())
print(path, leftovers.environment["TMPDIR"], flush=True)
sys.stdin.read()
"""


def test_next_start_removes_what_all_left(tmp_path: Path) -> None:
    """A front that is killed with its engine leaves a folder that tells of the shared memory."""
    front = subprocess.Popen(
        [sys.executable, "-c", FRONT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    with front:
        assert front.stdout is not None
        shared, folder = map(Path, front.stdout.readline().decode().split())
        assert sweep(tmp_path) == []
        os.killpg(front.pid, signal.SIGKILL)
    assert shared.exists()
    assert sweep(tmp_path) == [folder]
    assert not shared.exists()
