"""How far files have been fetched."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Download:
    """How far a download is, in bytes of all its files. `num_bytes_expected` 0: not known."""

    num_bytes: int = 0
    num_bytes_expected: int = 0
