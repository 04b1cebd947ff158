"""What the C library keeps, in a process of its own: the settings are those of a whole process."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Threads that hold memory at the same time, and then the library's own count of its heaps.
_COUNT_HEAPS = """
import ctypes, sys, threading
from tokenwire.server.machine.c_allocator import limit_arenas

if sys.argv[1] == "limited":
    limit_arenas()
barrier = threading.Barrier(9)

def hold():
    block = bytes(4096)
    barrier.wait()
    barrier.wait()
    return block

threads = [threading.Thread(target=hold) for _ in range(8)]
for thread in threads:
    thread.start()
barrier.wait()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
stdout = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, stdout)
libc.fflush(stdout)
barrier.wait()
"""

_GIVE_BACK = """
from pathlib import Path
from tokenwire.server.machine.c_allocator import give_back_free_memory

def resident_kb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])

blocks = [bytearray(100_000) for _ in range(2_000)]
del blocks[::2], blocks[:-1]  # the last one holds the heap's end in its place
before_kb = resident_kb()
give_back_free_memory()
print(before_kb - resident_kb())
"""


def run(code: str, *arguments: str) -> str:
    """What a fresh process prints."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="asks the GNU C library")
def test_threads_share_two_heaps() -> None:
    """Many threads at once make no more heaps than two; they would make one each."""
    assert run(_COUNT_HEAPS, "limited").count("<heap ") == 2
    assert run(_COUNT_HEAPS, "as usual").count("<heap ") > 2


@pytest.mark.skipif(sys.platform != "linux", reason="asks the GNU C library")
def test_what_holds_nothing_goes_back_to_the_system() -> None:
    """Free memory below something that is in use leaves the process."""
    assert int(run(_GIVE_BACK)) > 50_000
