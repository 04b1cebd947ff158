"""The child and the process that started it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from tokenwire.server.engines.llama_cpp.child.arguments import ChildArguments, ChildReport
from tokenwire.server.engines.llama_cpp.child.process import make_socket_path

from ...generation import HANG_S


async def wait_gone(pid: int) -> None:
    """Waits for the end of a process that is nobody's child here."""
    async with asyncio.timeout(HANG_S):
        while is_running(pid):  # noqa: ASYNC110 - only a parent is told of an end
            await asyncio.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


PARENT = """
import subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-m", "tokenwire.server.engines.llama_cpp.child.main", sys.argv[1]],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
)
print(child.pid, flush=True)
if sys.argv[2] == "loaded":
    print(child.stdout.readline().decode(), end="", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("moment", ["loading", "loaded"])
async def test_child_dies_with_parent(gguf_file: Path, moment: str) -> None:
    """A parent that is killed takes the child with it, also while the child loads."""
    socket_path = make_socket_path()
    arguments = ChildArguments(
        model_path=str(gguf_file),
        socket_path=str(socket_path),
        num_slots=1,
        pool_tokens=256,
        num_threads=1,
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, arguments.to_json(), moment,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(HANG_S):
        assert parent.stdout is not None
        pid = int(await parent.stdout.readline())
        if moment == "loaded":
            assert ChildReport.from_json(await parent.stdout.readline()).version
        parent.kill()
        await parent.wait()
        await wait_gone(pid)
    if moment == "loaded":
        assert not socket_path.parent.exists()
    elif socket_path.parent.exists():
        socket_path.unlink(missing_ok=True)
        socket_path.parent.rmdir()


# Far more than a pipe holds, told to the log of llama.cpp at once.
LOGGER = """
import ctypes, os, xllamacpp
from tokenwire.server.engines.llama_cpp.child.main import flush_log
library = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
log, add = library._Z15common_log_mainv, library._Z14common_log_addP10common_log14ggml_log_levelPKcz
log.restype = ctypes.c_void_p
add.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
for number in range(5000):
    add(log(), 4, b"%d of many lines\\n" % number)
flush_log(xllamacpp)
os._exit(0)
"""


async def test_log_is_written_before_the_end() -> None:
    """What llama.cpp has to say is read to its last line, also where the child ends at once."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOGGER,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(HANG_S):
        _, written = await child.communicate()
    assert written.decode().splitlines()[-1].endswith("4999 of many lines")
    assert child.returncode == 0
