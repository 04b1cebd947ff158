"""What a request asks of its model's queue, and what it hears while it waits there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..contract.load_progress import LoadProgress


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a request asks of the queue.

    The wait ends after `max_wait_s` or at `deadline_s` of the monotonic clock, whichever is first.
    `num_places` slots, at least 1, are wanted together: one for each choice. A higher `priority`
    goes first (see `WaitingLine`). `caller` is empty where nobody is named.
    """

    max_wait_s: float
    deadline_s: float | None = None
    num_places: int = 1
    priority: int = 0
    caller: str = ""


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """A place in the queue, 1 being next: one more than the slots that those ahead want.

    `expected_wait_s` is None while nothing is known.
    """

    place: int
    expected_wait_s: float | None


# The place while an engine serves, and the steps of its load while none does.
WaitProgress = QueuePlace | LoadProgress
ReportWait = Callable[[WaitProgress], None]
