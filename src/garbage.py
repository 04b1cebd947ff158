"""The garbage collector of a process that serves many streams at once."""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (20_000, 2, 2)
"""CPython's own are 700, 10, 10. A stream has some ten objects between two tokens, so that with 64
of them the collector came by at nearly every token: 2.4 of 40 µs. A full collection comes after
80,000 new objects, as it does by CPython's own."""


def spare_what_is_loaded() -> None:
    """Keeps the collector from what is loaded by now, and from coming by for every few tokens.

    What is imported stays for ever. A full collection that looks through all of it takes 60 ms, in
    which no stream goes on.
    """
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
