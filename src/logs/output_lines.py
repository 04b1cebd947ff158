"""What other programs write, cut into lines, none of them too long and not too many a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

MAX_LINE_CHARACTERS: Final = 500
_BURST_LINES: Final = 100
_LINES_PER_S: Final = 20.0


class LineCutter:
    """Puts the pieces that are read from a pipe together to lines; empty ones are left out."""

    def __init__(self, max_characters: int = MAX_LINE_CHARACTERS) -> None:
        self._max_characters = max_characters
        self._rest = ""

    def feed(self, data: bytes) -> list[str]:
        """Returns the lines that are complete with what was read."""
        *lines, rest = (self._rest + data.decode(errors="replace")).splitlines(keepends=True) or [
            ""
        ]
        if rest.endswith(("\n", "\r")):
            lines, rest = [*lines, rest], ""
        self._rest = rest[-self._max_characters :]
        return [cut for line in lines if (cut := line.strip()[: self._max_characters])]

    def rest(self) -> list[str]:
        """Returns the line that has no end, where there is one."""
        line, self._rest = self._rest.strip(), ""
        return [line] if line else []


class LineRate:
    """Decides which lines are logged: a hundred at once, and twenty a second from then on.

    `num_left_out` counts those that were not, since `admit` was last true.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.num_left_out = 0
        self._clock = clock
        self._allowance = float(_BURST_LINES)
        self._asked_s = clock()

    def admit(self) -> bool:
        """Whether the next line is logged."""
        now_s = self._clock()
        self._allowance += (now_s - self._asked_s) * _LINES_PER_S
        self._allowance = min(self._allowance, float(_BURST_LINES))
        self._asked_s = now_s
        if self._allowance < 1.0:
            self.num_left_out += 1
            return False
        self._allowance -= 1.0
        return True

    def take_left_out(self) -> dict[str, int]:
        """Returns the count as a field of the next event, and begins anew; empty for none."""
        num_left_out, self.num_left_out = self.num_left_out, 0
        return {"num_lines_left_out": num_left_out} if num_left_out else {}
