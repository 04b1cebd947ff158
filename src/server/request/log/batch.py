"""What a reader of a request's log takes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...contract.events import Told
from ..calls import CallFinished, CallStarted, ProgressEvent


@dataclass(slots=True)
class Batch:
    """What a reader had not taken yet, in the order of its fields.

    `deltas` joins neighbours of one kind and choice. `position` counts the engine's deltas up to
    and with the last one.
    """

    position: int
    progress: ProgressEvent | None = None
    started: CallStarted | None = None
    deltas: Sequence[Told] = ()
    finished: CallFinished | None = None

    @property
    def holds_deltas_alone(self) -> bool:
        """Whether there is nothing but deltas in it."""
        return self.progress is None and self.started is None and self.finished is None
