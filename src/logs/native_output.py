"""What native code of this process writes to standard error, gRPC's above all, as events."""

from __future__ import annotations

import logging
import os
import re
import threading
from typing import Final

from .output_lines import LineCutter, LineRate

# Abseil's form, which gRPC writes: `E1122 10:11:12.345678  4711 ssl_security.cc:123] words`.
_ABSEIL_LINE: Final = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ ([^\]\s]+)\] (.*)")
_LEVELS: Final = {
    "I": logging.INFO,
    "W": logging.WARNING,
    "E": logging.ERROR,
    "F": logging.CRITICAL,
}
# Once a process, before its first line, and of interest to nobody who runs a service.
_PREAMBLE: Final = "WARNING: All log messages before absl::InitializeLog()"
# What a client alone causes, with words of his behind it: no error, and the words stay out.
_OF_A_CLIENT: Final = "No match found for server name"
_READ_BYTES: Final = 1 << 16

_logger = logging.getLogger(__name__)
_grpc_logger = logging.getLogger("grpc.core")


class NativeOutput:
    """Puts a pipe in the place of `fd` and logs what comes out of it, from a thread of its own."""

    def __init__(self, fd: int, real_fd: int) -> None:
        self._fd = fd
        self._real_fd = real_fd
        self._reading, writing = os.pipe()
        os.dup2(writing, fd)
        os.close(writing)
        self._thread = threading.Thread(target=self._run, name="native-output", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Gives `fd` back, and waits until what was written to it is logged. Repeatable.

        A child that has inherited the pipe keeps it open: then the wait ends by its bound.
        """
        os.dup2(self._real_fd, self._fd)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        cutter, rate = LineCutter(), LineRate()
        while data := os.read(self._reading, _READ_BYTES):
            for line in cutter.feed(data):
                _log(line, rate)
                if _OF_A_CLIENT in line:
                    break  # a name may hold ends of lines: what follows may be his, in any form
        for line in cutter.rest():
            _log(line, rate)


def _log(line: str, rate: LineRate) -> None:
    if line.startswith(_PREAMBLE) or not rate.admit():
        return
    left_out = rate.take_left_out()
    match = _ABSEIL_LINE.fullmatch(line)
    if match is None:
        _logger.warning("native_output", extra={"line": line, **left_out})
    else:
        level, source, words = match.groups()
        number = _LEVELS[level]
        if words.startswith(_OF_A_CLIENT):
            number, words = logging.INFO, _OF_A_CLIENT
        fields = {"line": words, "source": source, **left_out}
        _grpc_logger.log(number, "native_output", extra=fields)
