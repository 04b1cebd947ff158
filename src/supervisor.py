"""Runs the front and the edge as siblings: starts them, restarts what dies, drains in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from .environment import EXIT_CONFIGURATION
from .lifecycle import Shutdown, wait_first
from .restart_backoff import RestartBackoff

_logger = structlog.get_logger(__name__)

# The next death is left to whoever started this process.
_RESTART_DELAYS_S = (0.5, 1.0, 2.0, 4.0, 8.0)
_LOG_TIMEOUT_S = 5.0
_STREAM_LIMIT_BYTES = 1024 * 1024

WriteLine = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class ChildCommand:
    """One process to keep running.

    `stop_timeout_s` bounds its drain, and `force_timeout_s` what it does once the drain is over or
    cut short; then it is killed. Its standard input is a pipe that closes when this process
    ends, however it ends; it should end then, too. It inherits the files of `pass_fds`.
    """

    name: str
    argv: tuple[str, ...]
    stop_timeout_s: float
    environment: dict[str, str] = field(default_factory=dict[str, str])
    force_timeout_s: float = 5.0
    pass_fds: tuple[int, ...] = ()


class Supervisor:
    """Keeps children running until the shutdown, then stops them one after another.

    Children write to `stderr_fd`, ours where none is given; or `write_line` gets each of their
    lines, and must not block.
    """

    def __init__(
        self,
        commands: tuple[ChildCommand, ...],
        shutdown: Shutdown,
        write_line: WriteLine | None = None,
        *,
        stderr_fd: int | None = None,
    ) -> None:
        self._shutdown = shutdown
        self._children = [_Child(command, shutdown, write_line, stderr_fd) for command in commands]

    async def run(self) -> int:
        """Runs until a shutdown is asked for or a child cannot be kept; returns the exit status.

        Children are stopped in the order in which they were given.
        """
        async with asyncio.TaskGroup() as tasks:
            for child in self._children:
                tasks.create_task(child.keep())
            await self._shutdown.draining.wait()
            for child in self._children:
                await child.stop()
        return max(child.exit_status for child in self._children)


class _Child:
    """One process, and the next one in its place."""

    def __init__(
        self,
        command: ChildCommand,
        shutdown: Shutdown,
        write_line: WriteLine | None,
        stderr_fd: int | None,
    ) -> None:
        self.exit_status = 0
        self._command = command
        self._shutdown = shutdown
        self._write_line = write_line
        self._stderr_fd = stderr_fd
        self._process: Process | None = None
        self._is_over = asyncio.Event()

    async def keep(self) -> None:
        """Starts the process, and again whenever it ends, until the shutdown."""
        backoff = RestartBackoff(_RESTART_DELAYS_S)
        try:
            while not self._shutdown.draining.is_set():
                lifetime_s, status = await self._run_once()
                if self._shutdown.draining.is_set():
                    return
                delay_s = backoff.next_delay_s(lifetime_s)
                if status == EXIT_CONFIGURATION or delay_s is None:
                    _logger.error("child_given_up", child=self._command.name, exit_status=status)
                    self.exit_status = EXIT_CONFIGURATION if status == EXIT_CONFIGURATION else 1
                    self._shutdown.request()
                    return
                _logger.warning(
                    "child_died",
                    child=self._command.name,
                    exit_status=status,
                    restart_in_s=delay_s,
                )
                await wait_first(self._shutdown.draining.wait(), timeout_s=delay_s)
        finally:
            self._is_over.set()

    async def stop(self) -> None:
        """Drains the process; by force when the drain lasts too long or a second signal comes."""
        self._signal(signal.SIGTERM)
        if await self._ends_within(self._command.stop_timeout_s, unless_forced=True):
            return
        # The second one asks it to end at once and to take its own children along.
        self._signal(signal.SIGTERM)
        if await self._ends_within(self._command.force_timeout_s):
            return
        _logger.error("child_killed", child=self._command.name)
        self.exit_status = max(self.exit_status, 1)
        self._signal(signal.SIGKILL)
        await self._is_over.wait()  # nothing outlives SIGKILL

    async def _run_once(self) -> tuple[float, int]:
        clock = asyncio.get_running_loop().time
        started_s = clock()
        process = await asyncio.create_subprocess_exec(
            *self._command.argv,
            stdin=PIPE,
            stderr=PIPE if self._write_line else self._stderr_fd,
            # Ctrl-C in the terminal reaches this process alone, which passes it on in order.
            start_new_session=True,
            env={**os.environ, **self._command.environment},
            pass_fds=self._command.pass_fds,
            limit=_STREAM_LIMIT_BYTES,
        )
        self._process = process
        if self._shutdown.draining.is_set():  # while it was being started
            self._signal(signal.SIGTERM)
        async with asyncio.TaskGroup() as tasks:
            if process.stderr is not None and self._write_line is not None:
                copy = tasks.create_task(_copy_lines(process.stderr, self._write_line))
            else:
                copy = None
            status = await process.wait()
            if copy is not None:
                # A grandchild may hold the pipe open for a while.
                await asyncio.wait([copy], timeout=_LOG_TIMEOUT_S)
                copy.cancel()
        return clock() - started_s, status

    async def _ends_within(self, timeout_s: float, *, unless_forced: bool = False) -> bool:
        forced = (self._shutdown.forced.wait(),) if unless_forced else ()
        await wait_first(self._is_over.wait(), *forced, timeout_s=timeout_s)
        return self._is_over.is_set()

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if number is signal.SIGKILL:
                os.killpg(process.pid, number)  # it leads a session of its own
            else:
                process.send_signal(number)


async def _copy_lines(stream: asyncio.StreamReader, write_line: WriteLine) -> None:
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # a line above the limit was dropped
            continue
        if not line:
            return
        write_line(line)
