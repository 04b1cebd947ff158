"""What the processes of an engine write: events of ours, and the last lines for whoever asks why.

Of the standard library alone: the engines that use it need nothing else.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ...logs.output_lines import LineCutter, LineRate

MAX_KEPT_LINES: Final = 200

_logger = logging.getLogger(__name__)

ReadLine = Callable[[str], tuple[int, dict[str, Any]]]
"""Finds the level of a line, as `logging` counts it, and the fields of its event: `line`, …"""


class EngineOutput:
    """Logs the lines of the engine of one model, each with its own level.

    `kept` are the last ones as they came. `engine` is the engine's name in configuration and logs.
    `hide` gets each line first, and returns what may be kept and logged of it; None: nothing.
    """

    def __init__(
        self,
        model_id: str,
        engine: str,
        read_line: ReadLine,
        hide: Callable[[str], str | None] = str,
    ) -> None:
        self.kept: deque[str] = deque(maxlen=MAX_KEPT_LINES)
        self._common = {"model": model_id, "engine": engine}
        self._read_line = read_line
        self._hide = hide
        self._cutter = LineCutter()
        self._rate = LineRate()

    def feed(self, data: bytes) -> None:
        """Takes what was read from the pipe."""
        for line in self._cutter.feed(data):
            self._take(line)

    def end(self) -> None:
        """Takes the last line where it has no end; nothing comes behind it."""
        for line in self._cutter.rest():
            self._take(line)

    def _take(self, text: str) -> None:
        line = self._hide(text)
        if line is None:
            return
        self.kept.append(line)
        if self._rate.admit():
            level, fields = self._read_line(line)
            fields |= self._common | self._rate.take_left_out()
            _logger.log(level, "engine_output", extra=fields)
