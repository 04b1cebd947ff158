"""The host as the front sees it: a process group, a socket and what it prints."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final, Self

from ....machine.process_group import wait_group_gone
from ..leftovers import Leftovers
from .output_tail import OutputTail

_logger = logging.getLogger(__name__)

END_S: Final = 10.0
DYING_S: Final = 2.0


class HostProcess:
    """A child that leads a process group of its own, and everything it starts."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        peer: socket.socket,
        leftovers: Leftovers,
        output: OutputTail,
    ) -> None:
        self._process = process
        self._leftovers = leftovers
        self._peer: socket.socket | None = peer
        self._lock = asyncio.Lock()
        self._is_ended = False
        self.output = output
        self._listening = asyncio.create_task(self._listen(), name="sglang-output")

    @classmethod
    def start(cls, module: str, environment: Mapping[str, str], model_id: str) -> Self:
        """Runs `module` with one end of a new socket pair as its only argument."""
        ours, theirs = socket.socketpair()
        leftovers = Leftovers.make()
        with theirs:
            process = subprocess.Popen(
                child_command(module, str(theirs.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(environment) | leftovers.environment,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        return cls(process, ours, leftovers, OutputTail(model_id))

    @property
    def pid(self) -> int:
        """The process id of the host, which is also the id of its group."""
        return self._process.pid

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Opens our end of the socket, once; the caller closes the writer after `end`."""
        peer, self._peer = self._peer, None
        assert peer is not None
        return await asyncio.open_unix_connection(sock=peer)

    async def record_leftovers(self) -> None:
        """Records what the group would leave behind if it were killed from now on."""
        await asyncio.to_thread(self._leftovers.record, self._process.pid)

    async def is_killed(self) -> bool:
        """Says whether the host, which has hung up and was not ended by us, died by SIGKILL."""
        # Looked at, not waited for: `end` relies on the group's id.
        look = os.WEXITED | os.WNOWAIT
        try:
            async with asyncio.timeout(DYING_S):
                end = await asyncio.to_thread(os.waitid, os.P_PID, self._process.pid, look)
        except TimeoutError:
            return False
        return end is not None and (end.si_code, end.si_status) == (os.CLD_KILLED, signal.SIGKILL)

    async def end(self) -> None:
        """Kills the whole group and waits until it is gone, at most `END_S`. Repeatable."""
        async with self._lock:
            if self._is_ended:
                return
            await self.record_leftovers()
            # Nobody has waited for the leader yet, so the group's id cannot be another's.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            if self._peer is not None:
                self._peer.close()
            end_s = time.monotonic() + END_S
            # The pipe ends when the last process that could write into it closes its files: it may
            # live a moment longer, with what it has of a GPU, but it starts no other.
            await asyncio.wait({self._listening}, timeout=END_S)
            left_s = end_s - time.monotonic()
            if not await asyncio.to_thread(wait_group_gone, self._process.pid, left_s):
                _logger.error("group_outlived_sigkill", extra={"group": self._process.pid})
            self._listening.cancel()
            await asyncio.wait({self._listening})
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, 0)
            await asyncio.to_thread(self._leftovers.remove)
            self._is_ended = True

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout
        )
        try:
            while data := await reader.read(1 << 16):  # ends with the process group
                self.output.feed(data)
            self.output.end()
        finally:
            transport.close()


def child_command(module: str, *arguments: str) -> Sequence[str]:
    """Makes the command line of one of our modules; `-P`: the working directory has no say."""
    return (sys.executable, "-P", "-m", module, *arguments)
