"""How far the loading of a model is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Download:
    """How far a download is, in bytes of all its files. `num_bytes_expected` 0: not known."""

    num_bytes: int = 0
    num_bytes_expected: int = 0


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """A step of loading, and `detail` of it, which is not logged; `fraction` in [0, 1].

    `download` is set while files are fetched.
    """

    step: str
    fraction: float | None = None
    detail: str = ""
    download: Download | None = None

    @property
    def text(self) -> str:
        """The step with its detail."""
        return f"{self.step}, {self.detail}" if self.detail else self.step


ReportProgress = Callable[[LoadProgress], None]
