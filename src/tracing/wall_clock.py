"""The times of spans, which are those of the wall clock."""

from __future__ import annotations

import time
from collections.abc import Callable


def wall_clock() -> Callable[[float], int]:
    """Returns what turns times of `time.monotonic` into nanoseconds since 1970.

    Use one for all spans of a request: two would be some microseconds apart.
    """
    offset_ns = time.time_ns() - time.monotonic_ns()
    return lambda time_s: offset_ns + round(time_s * 1e9)
