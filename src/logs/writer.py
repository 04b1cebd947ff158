"""Log lines on their way out: a bounded queue, and the thread that empties it."""

from __future__ import annotations

import os
import queue
import select
import threading
from collections.abc import Callable
from typing import Final

MAX_QUEUED_BYTES: Final = 4 * 1024 * 1024
"""Of lines that wait; as much again may be on its way out."""

FLUSH_S: Final = 1.0
"""How long the end of a process waits for a reader of its last lines."""

# What a line costs in the queue beside its text, so that empty ones are bounded, too.
_LINE_BYTES: Final = 100
# The kernel does not mix up what several processes write to one pipe in pieces of this size.
_ATOMIC_BYTES: Final = select.PIPE_BUF

TellDropped = Callable[[int], str]


class LineWriter:
    """Writes lines to `fd` in order; whoever logs never waits for it, and never fails.

    A line that the queue has no room for is dropped and counted, and so is one that cannot be
    written: the reader is gone, the disk is full. Once there is room, the line that `tell_dropped`
    makes of their number says so. A thread that ends with the process does the writing.

        writer = LineWriter(fd)
        writer.write(line)
        writer.close()
    """

    def __init__(
        self,
        fd: int,
        *,
        tell_dropped: TellDropped | None = None,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
    ) -> None:
        self.fd = fd
        self.tell_dropped = tell_dropped
        self._max_queued_bytes = max_queued_bytes
        # Takes lines also in the middle of itself: a finalizer or a signal may log at any moment.
        self._queue: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._num_queued_bytes = 0
        self._num_refused = 0  # by the queue
        self._num_unwritten = 0  # by the file
        self._num_told = 0
        threading.Thread(target=self._run, name="log-writer", daemon=True).start()

    @property
    def num_dropped(self) -> int:
        """Lines that were lost since the start."""
        return self._num_refused + self._num_unwritten

    def write(self, text: str, /) -> int:
        """Takes whole lines. Returns at once."""
        line = text.encode(errors="backslashreplace")
        cost = len(line) + _LINE_BYTES
        with self._lock:
            if self._num_queued_bytes + cost > self._max_queued_bytes:
                self._num_refused += 1
            else:
                self._num_queued_bytes += cost
                self._queue.put(line)
        return len(text)

    def isatty(self) -> bool:
        """Whether a person looks at the lines."""
        return os.isatty(self.fd)

    def close(self, timeout_s: float = FLUSH_S) -> None:
        """Waits until the lines so far are out, as long as `timeout_s` allows. Repeatable.

        Those that are logged later are written where the process lives on for long enough.
        """
        is_written = threading.Event()
        self._queue.put(is_written)
        is_written.wait(timeout_s)

    def _run(self) -> None:
        while True:  # ends with the process
            lines, flushes = self._take()
            is_well = self._write_lines(lines)
            if is_well and self.num_dropped > self._num_told:
                self._tell()
            for is_written in flushes:
                is_written.set()

    def _take(self) -> tuple[list[bytes], list[threading.Event]]:
        taken = [self._queue.get()]
        with self._lock:
            while not self._queue.empty():
                taken.append(self._queue.get())
            # All of it: what was refused came behind every line that is taken here.
            self._num_queued_bytes = 0
        lines = [item for item in taken if isinstance(item, bytes)]
        return lines, [item for item in taken if isinstance(item, threading.Event)]

    def _write_lines(self, lines: list[bytes]) -> bool:
        is_well = True
        begin = 0
        while begin < len(lines):
            end, num_bytes = begin + 1, len(lines[begin])
            while end < len(lines) and num_bytes + len(lines[end]) <= _ATOMIC_BYTES:
                num_bytes += len(lines[end])
                end += 1
            is_well = self._write(b"".join(lines[begin:end]))
            if not is_well:
                self._num_unwritten += end - begin
            begin = end
        return is_well

    def _tell(self) -> None:
        num_dropped = self.num_dropped
        if self.tell_dropped is not None:
            line = self.tell_dropped(num_dropped - self._num_told)
            if not self._write(line.encode(errors="backslashreplace")):
                return
        self._num_told = num_dropped

    def _write(self, data: bytes) -> bool:
        try:
            while data:
                try:
                    data = data[os.write(self.fd, data) :]
                except BlockingIOError:  # another process made the file non-blocking for all
                    poll = select.poll()
                    poll.register(self.fd, select.POLLOUT)
                    poll.poll()
        except OSError:  # a closed pipe, a full disk, a terminal that is gone
            return False
        return True
