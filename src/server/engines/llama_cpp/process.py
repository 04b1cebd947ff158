"""The child process of one model, from its start to its end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import Final

import structlog

from .arguments import ChildArguments, ChildReport

_logger = structlog.get_logger(__name__)

_GRACE_S: Final = 2.0
_MAX_SOCKET_PATH_BYTES: Final = 107  # sun_path of sockaddr_un, less its end
_MAX_KEPT_LINES: Final = 50
_MAX_LINE_BYTES: Final = 2_000


def make_socket_path() -> Path:
    """Makes a fresh private folder and names a socket in it.

    Fresh, because llama.cpp removes no socket and does not start where one lies.
    """
    folder = Path(tempfile.mkdtemp(prefix="tokenwire-"))
    path = folder / "llama.sock"
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH_BYTES:
        folder.rmdir()
        path = Path(tempfile.mkdtemp(prefix="tokenwire-", dir="/tmp")) / path.name
    return path


class LlamaCppProcess:
    """A started child. Whoever starts it closes it."""

    def __init__(self, process: asyncio.subprocess.Process, socket_path: Path) -> None:
        self._process = process
        self._socket_path = socket_path
        self._errors = deque[str](maxlen=_MAX_KEPT_LINES)
        self._is_lost = asyncio.Event()
        self._is_closing = False
        self._watching = asyncio.create_task(self._watch(), name="llama.cpp watch")

    @staticmethod
    async def start(arguments: ChildArguments) -> LlamaCppProcess:
        """Starts the child in a process group of its own, away from the terminal's signals."""
        # Waiting threads sleep: spinning ones take the CPU from the front.
        environment = {"OMP_WAIT_POLICY": "passive", **os.environ}
        socket_path = Path(arguments.socket_path)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"{__package__}.child", arguments.to_json(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )  # fmt: skip
        except BaseException:
            # Cancelled while it starts: asyncio kills what it has started of it.
            shutil.rmtree(socket_path.parent, ignore_errors=True)
            raise
        return LlamaCppProcess(process, socket_path)

    @property
    def pid(self) -> int:
        """The child's process id, which is also its process group's."""
        return self._process.pid

    @property
    def is_lost(self) -> bool:
        """Whether the child is dead or being ended."""
        return self._is_lost.is_set() or self._is_closing

    @property
    def first_error(self) -> str:
        """The first error that llama.cpp wrote, empty where it wrote none."""
        return next((line.split(" E ", 1)[1].strip() for line in self._errors if " E " in line), "")

    async def report(self) -> ChildReport:
        """Waits for the child's one line; bounded by the caller."""
        assert self._process.stdout is not None  # asked for in `start`
        line = await self._process.stdout.readline()
        if not line:
            await self._is_lost.wait()
            return ChildReport(error=self.describe_end())
        return ChildReport.from_json(line)

    async def wait_lost(self) -> str:
        """Returns how the child ended, once it has."""
        await self._is_lost.wait()
        return self.describe_end()

    def describe_end(self) -> str:
        """Says how the child ended."""
        code = self._process.returncode
        if code is None:
            return "the llama.cpp process is being stopped"
        if code < 0:
            name = signal.Signals(-code).name
            hint = ", perhaps for lack of memory" if name == "SIGKILL" else ""
            return f"the llama.cpp process was ended by {name}{hint}"
        return f"the llama.cpp process ended with status {code}"

    async def close(self) -> None:
        """Ends the whole process group. Bounded, repeatable, also after a death."""
        self._is_closing = True
        assert self._process.stdin is not None  # asked for in `start`
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._is_lost.wait(), _GRACE_S)
        except TimeoutError:
            pass
        finally:
            # Not after its end: the number may then be another group's.
            if self._process.returncode is None:
                self._kill_group()
            shutil.rmtree(self._socket_path.parent, ignore_errors=True)
        await self._watching

    def _kill_group(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    async def _watch(self) -> None:
        try:
            await self._keep_errors()
            await self._process.wait()
            if not self._is_closing:
                _logger.error(
                    "llama_cpp_ended", how=self.describe_end(), last_lines=list(self._errors)[-5:]
                )
        finally:
            self._is_lost.set()

    async def _keep_errors(self) -> None:
        assert self._process.stderr is not None  # asked for in `start`
        rest = b""
        while chunk := await self._process.stderr.read(4096):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[:_MAX_LINE_BYTES]
            for line in lines:
                self._errors.append(line[:_MAX_LINE_BYTES].decode(errors="replace"))
