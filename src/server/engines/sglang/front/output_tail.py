"""The last lines that the processes of an engine wrote, and the one that tells what went wrong."""

from __future__ import annotations

import logging
import re
from collections import deque
from typing import Final

_logger = logging.getLogger(__name__)

MAX_LINES: Final = 200
MAX_LINE_CHARACTERS: Final = 500

_ERROR_LINE: Final = re.compile(r"\b([A-Za-z_.]*(?:Error|Exception|Interrupt|Killed)\b: .+)")


class OutputTail:
    """The last lines that a process and its children wrote, bounded."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._rest = ""

    def feed(self, data: bytes) -> None:
        """Takes what was read from the pipe."""
        *lines, rest = (self._rest + data.decode(errors="replace")).splitlines(keepends=True) or [
            ""
        ]
        if rest.endswith(("\n", "\r")):
            lines, rest = [*lines, rest], ""
        self._rest = rest[-MAX_LINE_CHARACTERS:]
        for line in lines:
            stripped = line.strip()[:MAX_LINE_CHARACTERS]
            if stripped:
                _logger.debug("engine_output", extra={"line": stripped})
                self._lines.append(stripped)

    def explain(self, what: str) -> str:
        """Adds to what is known of a failure, for the log, what a process wrote about it."""
        why = self.last_error(beside=what)
        # Behind the first paragraph of an error stands advice, on packages for one.
        line = " ".join(what.partition("\n\n")[0].split())
        return f"{line} ({why})" if why else line

    def last_error(self, *, beside: str = "") -> str:
        """Finds the last line that names an error and is not part of `beside`; empty for none."""
        for line in reversed((*self._lines, self._rest.strip())):
            found = _ERROR_LINE.search(line)
            if found and found[1] not in beside and "ChildDied" not in found[1]:
                return found[1]
        return ""
