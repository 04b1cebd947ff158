"""The standard error of a process of the service, so that nothing in it waits for a reader."""

from __future__ import annotations

import atexit
import faulthandler
import fcntl
import io
import logging
import os
import sys
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Final

from .configure import LogSink, configure_logging, format_event
from .native_output import NativeOutput
from .settings import LogSettings
from .writer import LineWriter

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDERR: Final = 2
_NATIVE_S: Final = 0.2  # what native code wrote lies in a pipe of ours already

_logger = logging.getLogger(__name__)


class StandardError:
    """Owns the standard error of this process until its end; make it once, before all else.

    Whatever writes there finds something that never blocks: `lines` for events and status lines,
    `sys.stderr` for Python, and a pipe for native code, whose lines become events. The real one is
    `lines.fd`, for children. The last lines are waited for, for a second, when the process ends.
    """

    def __init__(self) -> None:
        self.lines = LineWriter(_real_fd())
        self._native = NativeOutput(_STDERR, self.lines.fd)
        # Of Python's own kind, for whoever prints.
        raw = io.BufferedWriter(_RawLines(self.lines))
        sys.stderr = io.TextIOWrapper(raw, errors="backslashreplace", line_buffering=True)
        # A fault of native code kills the process without a look at any queue.
        fault_fd = _open_again(self.lines.fd)
        if fault_fd is not None:
            faulthandler.enable(fault_fd)
        atexit.register(self._close)

    def log(
        self, settings: LogSettings, secrets: Iterable[str] = (), sink: LogSink | None = None
    ) -> None:
        """Sends every event there, through `sink` where one is given.

        What Python says by itself of warnings, and of exceptions that nobody caught, are events,
        too.
        """
        configure_logging(settings, secrets, sink or self.lines)
        self.lines.tell_dropped = _tell_dropped
        logging.captureWarnings(capture=True)
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_uncaught_in_thread

    def _close(self) -> None:
        self._native.close(_NATIVE_S)
        self.lines.close()


class _RawLines(io.RawIOBase):
    """Python's standard error on top of a `LineWriter`."""

    def __init__(self, lines: LineWriter) -> None:
        self._lines = lines

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._lines.fd

    def isatty(self) -> bool:
        return self._lines.isatty()

    def write(self, data: ReadableBuffer, /) -> int:
        text = bytes(data)
        self._lines.write(text.decode(errors="backslashreplace"))
        return len(text)


def _real_fd() -> int:
    """Returns a copy of standard error that children do not inherit, and that nobody closes."""
    # Where a standard stream was closed before the start, the next file or socket that is opened
    # would get its number, and with it whatever is written to standard error.
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(fd, True)
    os.close(fd)
    return fcntl.fcntl(_STDERR, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1)


def _open_again(fd: int) -> int | None:
    """Returns the same file in a mode of its own, in which nothing waits; None for a socket.

    A process that is dying would wait for a reader for ever, and nobody would start the next one.
    """
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_NOCTTY
    try:
        return os.open(f"/proc/self/fd/{fd}", flags)
    except OSError:
        return None


def _tell_dropped(num_lines: int) -> str:
    return format_event(logging.WARNING, "log_lines_dropped", num_lines=num_lines)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):  # no fault, and its place says nothing
        return
    _logger.critical("uncaught_exception", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None:
        _log_uncaught(found.exc_type, found.exc_value, found.exc_traceback)
