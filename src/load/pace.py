"""When requests are sent, and until when."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass


class Arrivals(enum.StrEnum):
    """How arrivals are spread in time, at the same rate on average."""

    POISSON = "poisson"
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True)
class Closed:
    """So many callers, each of whom asks again when it has its answer."""

    concurrency: int


@dataclass(frozen=True, slots=True)
class Open:
    """Requests arrive `rate` times a second, however many are still in flight."""

    rate: float
    arrivals: Arrivals = Arrivals.POISSON
    seed: int = 0

    def waits_s(self) -> Waits:
        """Returns the waits between arrivals, from the beginning."""
        return Waits(self)


class Waits:
    """Waits between arrivals, the same for the same seed."""

    def __init__(self, load: Open) -> None:
        self._load = load
        self._generator = random.Random(load.seed)  # noqa: S311 - drawn to be repeated

    def next_s(self) -> float:
        """Returns the wait until the next arrival, in seconds."""
        if self._load.arrivals is Arrivals.CONSTANT:
            return 1 / self._load.rate
        return self._generator.expovariate(self._load.rate)


Load = Closed | Open


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is sent: until either is reached. None: no such limit; one of them is there."""

    num_requests: int | None = None
    duration_s: float | None = None
