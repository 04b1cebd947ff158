"""The process that tries constraints, from the front: started when it is needed, and replaced."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import Final

from .task import ANSWERS, Answer, Task, write_line

# The kernel ends a task after its CPU time; this is for a machine that gives it none.
_ANSWER_TIMEOUT_S: Final = 30.0
_MAX_LINE_BYTES: Final = 1 << 24
_END_TIMEOUT_S: Final = 2.0


class TooCostly(Exception):
    """A task took more CPU time or memory than it may have."""


class TrialProcess:
    """Answers one task at a time; whoever uses it sees to that, and closes it."""

    def __init__(self, max_cpu_s: float) -> None:
        self._max_cpu_s = max_cpu_s
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process's id; None where it is not started."""
        return None if self._process is None else self._process.pid

    async def ask(self, task: Task) -> Answer:
        """Returns the answer of a task.

        Raises:
            TooCostly: the kernel ended the process over it.
            TimeoutError: the machine is too busy.
        """
        process = self._process or await self._start()
        assert process.stdin is not None  # asked for in `_start`
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                process.stdin.write(write_line(task))
                await process.stdin.drain()
                while line := await process.stdout.readline():
                    answer = ANSWERS.decode(line)
                    # Others belong to callers who left before.
                    if answer.number == task.number:
                        return answer
        except TimeoutError:
            await self.close()
            raise
        except ConnectionError:
            pass  # it has ended: see below
        raise await self._explain_end(process)

    async def close(self) -> None:
        """Ends the process. Repeatable."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                # Not by asyncio, which may take the status from its own watcher.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            await process.wait()

    async def _explain_end(self, process: asyncio.subprocess.Process) -> Exception:
        """Waits for the end of a process that says nothing more; what comes of it for the task."""
        try:
            async with asyncio.timeout(_END_TIMEOUT_S):
                status = await process.wait()
        except TimeoutError:
            status = -signal.SIGKILL
        await self.close()
        if status < 0:
            return TooCostly()
        return RuntimeError(f"the process that tries constraints ended with status {status}")

    async def _start(self) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"{__package__}.worker", str(self._max_cpu_s),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # What llguidance prints holds the text of a grammar.
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "RAYON_NUM_THREADS": "1"},
            limit=_MAX_LINE_BYTES,
            start_new_session=True,
        )  # fmt: skip
        return self._process
