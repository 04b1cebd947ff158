"""Regular expressions, written as a terminal of llguidance."""

from __future__ import annotations

import re
from typing import Final

from .bad_constraint import BadConstraint, check_repetitions

_ESCAPE_AT_END: Final = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")
_REPETITION: Final = re.compile(r"(?<!\\)\{\s*(\d+)\s*(?:,\s*(\d*)\s*)?\}")
_ASCII_CLASSES: Final = "dws"


def regex_terminal(expression: str) -> str:
    r"""Writes an expression in the syntax of Rust's regex crate between slashes.

    `\\d`, `\\w` and `\\s` mean ASCII, as in JSON Schema: a digit of another script is no number.

    Raises:
        BadConstraint: it ends in the middle of an escape, or repeats something too often. Other
            mistakes are found by the trial.
    """
    # Few requests have an expression, and the library takes 2 MB.
    from llguidance import regex_to_lark  # noqa: PLC0415 - see above

    if _ESCAPE_AT_END.search(expression):
        raise BadConstraint("ends with an escape of nothing", f"column {len(expression)}")
    for found in _REPETITION.finditer(expression):
        for count in filter(None, found.groups()):
            check_repetitions(int(count[:10]), f"column {found.start() + 1}")
    body = regex_to_lark(expression, _ASCII_CLASSES)
    # SGLang refuses a grammar with a NUL in it.
    return "/" + body.replace("\0", r"\x00") + "/"
