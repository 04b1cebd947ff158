"""The lines that the processes of SGLang write, and the one that tells what went wrong."""

from __future__ import annotations

import logging
import re
from typing import Any, Final

from ...engine_output import EngineOutput

_ERROR_LINE: Final = re.compile(r"\b([A-Za-z_.]*(?:Error|Exception|Interrupt|Killed)\b: .+)")
_GRAMMAR_LINE: Final = re.compile(r"(Grammar accept_token failed for req \w+).*")
# As `host/event_log.py` spells them, and with its `logging.json` SGLang, too.
_LOG_LINE: Final = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL) ([\w.]+): (.*)")


class OutputTail(EngineOutput):
    """What a process of SGLang and its children write, logged, and the last of it kept."""

    def __init__(self, model_id: str) -> None:
        super().__init__(model_id, "sglang", read_line, _hide_grammar)

    def explain(self, what: str) -> str:
        """Adds to what is known of a failure, for the log, what a process wrote about it."""
        why = self.last_error(beside=what)
        # Behind the first paragraph of an error stands advice, on packages for one.
        line = " ".join(what.partition("\n\n")[0].split())
        return f"{line} ({why})" if why else line

    def last_error(self, *, beside: str = "") -> str:
        """Finds the last line that names an error and is not part of `beside`; empty for none."""
        for line in reversed(self.kept):
            found = _ERROR_LINE.search(line)
            if found and found[1] not in beside and "ChildDied" not in found[1]:
                return found[1]
        return ""


def _hide_grammar(line: str) -> str:
    """Cuts what a grammar says of a token that it did not expect: that token is an answer's."""
    return _GRAMMAR_LINE.sub(r"\1", line)


def read_line(line: str) -> tuple[int, dict[str, Any]]:
    """Finds level, source and words of a line of SGLang or its host; see `EngineOutput`."""
    match = _LOG_LINE.match(line)
    if match is None:  # printed, or part of a traceback
        return logging.INFO, {"line": line}
    level, source, words = match.groups()
    return logging.getLevelNamesMapping()[level], {"line": words, "source": source}
