"""An amount of memory as an operator writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]i?B|B)", re.IGNORECASE)
_UNITS = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True, slots=True)
class MemoryAmount:
    """A share of a device's memory, in (0, 1], or a number of bytes."""

    share: float | None = None
    num_bytes: int | None = None

    @classmethod
    def parse(cls, text: str) -> MemoryAmount:
        """Reads `0.4`, `20GiB` or `500MB`.

        Raises:
            ValueError: the text is neither.
        """
        match = _SIZE.fullmatch(text.strip())
        if match is not None:
            unit = match["unit"].lower()
            base = 1024 if "i" in unit else 1000
            return cls(num_bytes=int(float(match["number"]) * base ** _UNITS[unit[0]]))
        try:
            share = float(text)
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            raise ValueError(f"'{text}' is neither a share in (0, 1] nor a size such as 20GiB")
        return cls(share=share)

    def of(self, total_bytes: int) -> int:
        """Returns the bytes of a device that has `total_bytes`."""
        if self.num_bytes is not None:
            return self.num_bytes
        return int((self.share or 0.0) * total_bytes)

    def __str__(self) -> str:
        """Returns it as `parse` reads it, in the largest unit that it is a whole number of."""
        if self.num_bytes is None:
            return f"{self.share:g}"
        for unit, power in (("GiB", 3), ("MiB", 2), ("KiB", 1)):
            if self.num_bytes % 1024**power == 0:
                return f"{self.num_bytes // 1024**power}{unit}"
        return f"{self.num_bytes}B"
