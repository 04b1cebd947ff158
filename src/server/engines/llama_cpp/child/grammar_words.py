"""What llama.cpp prints of a grammar that it cannot follow, which holds texts of callers."""

from __future__ import annotations

import re
from typing import Final

# `0.01.234.567 E llg error: words`, and words of a grammar on the lines below.
_LOG_LINE: Final = re.compile(r"[\d.]+ [DIWE] ")
_GRAMMAR: Final = re.compile(r"(.*?(?:\bllg error|error parsing grammar))\b")


class GrammarWords:
    """Takes the words of grammars, and of what was generated with them, out of lines in order."""

    def __init__(self) -> None:
        self._is_hiding = False

    def hide(self, line: str) -> str | None:
        """Returns a line as it may be logged; None: not at all."""
        found = _GRAMMAR.match(line)
        if found is not None:
            self._is_hiding = True
            return found[1]
        if _LOG_LINE.match(line):
            self._is_hiding = False
        return None if self._is_hiding else line
