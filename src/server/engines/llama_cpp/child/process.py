"""The child process of one model, from its start to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import structlog

from .....listening import MAX_SOCKET_PATH_BYTES
from .....private_folders import PREFIX, PrivateFolder
from ...engine_output import EngineOutput
from .arguments import ChildArguments, ChildReport
from .grammar_words import GrammarWords

_logger = structlog.get_logger(__name__)

_GRACE_S: Final = 2.0
# `0.01.234.567 E srv  load_model: words`: the time since its start, the level, who says it.
_LOG_LINE: Final = re.compile(r"[\d.]+ ([DIWE]) (.*)")
_LEVELS: Final = {
    "D": logging.DEBUG,
    "I": logging.INFO,
    "W": logging.WARNING,
    "E": logging.ERROR,
}


def make_socket_path() -> Path:
    """Makes a fresh private folder and names a socket in it.

    Fresh, because llama.cpp removes no socket and does not start where one lies.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    path = folder / "llama.sock"
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        folder.rmdir()
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp")) / path.name
    return path


class LlamaCppProcess:
    """A started child. Whoever starts it closes it."""

    def __init__(
        self, process: asyncio.subprocess.Process, folder: PrivateFolder, model_id: str
    ) -> None:
        self._process = process
        self._folder = folder
        self._model_id = model_id
        self._output = EngineOutput(model_id, "llamacpp", read_line, GrammarWords().hide)
        self._is_lost = asyncio.Event()
        self._is_closing = False
        self._has_killed = False
        self._watching = asyncio.create_task(self._watch(), name="llama.cpp watch")

    @staticmethod
    async def start(arguments: ChildArguments, model_id: str) -> LlamaCppProcess:
        """Starts the child in a process group of its own, away from the terminal's signals."""
        # Waiting threads sleep: spinning ones take the CPU from the front.
        environment = {"OMP_WAIT_POLICY": "passive", **os.environ}
        folder = PrivateFolder(Path(arguments.socket_path).parent)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"{__package__}.main", arguments.to_json(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )  # fmt: skip
        except BaseException:
            # Cancelled while it starts: asyncio kills what it has started of it.
            folder.remove()
            raise
        return LlamaCppProcess(process, folder, model_id)

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
        matches = (_LOG_LINE.fullmatch(line) for line in self._output.kept)
        return next((match[2].strip() for match in matches if match and match[1] == "E"), "")

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

    @property
    def was_killed(self) -> bool:
        """Whether somebody else ended the child by SIGKILL, as a kernel without memory does."""
        return self._process.returncode == -signal.SIGKILL and not self._has_killed

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
            self._folder.remove()
        await self._watching

    def _kill_group(self) -> None:
        self._has_killed = True
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    async def _watch(self) -> None:
        try:
            await self._read_output()
            await self._process.wait()
            if not self._is_closing:
                _logger.error("llama_cpp_ended", model=self._model_id, how=self.describe_end())
        finally:
            self._is_lost.set()

    async def _read_output(self) -> None:
        assert self._process.stderr is not None  # asked for in `start`
        while chunk := await self._process.stderr.read(1 << 16):
            self._output.feed(chunk)
        self._output.end()


def read_line(line: str) -> tuple[int, dict[str, Any]]:
    """Finds the level of a line of llama.cpp, and its words; see `EngineOutput`."""
    match = _LOG_LINE.fullmatch(line)
    if match is None:  # printed by what has no levels: a failed check, a traceback
        return logging.ERROR, {"line": line}
    return _LEVELS[match[1]], {"line": match[2].strip()}
