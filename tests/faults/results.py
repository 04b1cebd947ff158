"""What the fault tests found, for the table of docs/reliability.md."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "TOKENWIRE_FAULT_RESULTS"
"""Names the file to add to, a line for each result; unset: nothing is written."""


@dataclass(frozen=True, slots=True)
class Result:
    """What was seen of one fault of `table.FAULTS`, by its number.

    `num_open` streams were open, `num_lost` and `num_doubled` of them lost text or told it twice;
    None: nobody looked.
    `recovery_s` is the longest time until the service was whole again.
    """

    number: int
    num_tried: int = 1
    num_open: int = 0
    num_lost: int | None = 0
    num_doubled: int | None = 0
    recovery_s: float | None = None


def note(number: int, **figures: float | None) -> None:
    """Keeps what a test found, once it is sure of it."""
    result = Result(number, **figures)  # type: ignore[arg-type] # by name, as they are declared
    if named := os.environ.get(VARIABLE):
        with Path(named).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(result)) + "\n")


def read(file: Path) -> list[Result]:
    """Returns everything that was noted."""
    return [Result(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def longest(times_s: Sequence[float]) -> float | None:
    """Returns the longest of some times, None of none."""
    return max(times_s, default=None)
