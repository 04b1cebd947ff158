"""The end of one engine: its death, or an order of ours."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass

from ...lifecycle import wait_first
from ..contract.engine import Engine


class EndCause(enum.Enum):
    """Why an engine ended. After all but UNLOADED another one takes its place."""

    DIED = "died"
    HUNG = "hung"
    STALLED = "stalled"
    UNLOADED = "unloaded"


@dataclass(frozen=True, slots=True)
class EngineEnd:
    """How an engine ended; `reason` is for the log alone."""

    cause: EndCause
    reason: str


class EndWatch:
    """Waits for an engine to die, or to be ended by us.

    end = await watch.wait(engine)  # in the task that runs the engine
    watch.order(EngineEnd(EndCause.UNLOADED, "nobody used it"))  # elsewhere: the wait returns it
    """

    def __init__(self) -> None:
        self._is_ordered = asyncio.Event()
        self._order: EngineEnd | None = None

    def order(self, end: EngineEnd) -> None:
        """Ends the wait with `end`; the first order counts."""
        if self._order is None:
            self._order = end
            self._is_ordered.set()

    async def wait(self, engine: Engine) -> EngineEnd:
        """Returns how `engine` died, or the order where there is one."""
        lost = asyncio.ensure_future(engine.wait_lost())
        await wait_first(lost, self._is_ordered.wait())
        return self._order or EngineEnd(EndCause.DIED, lost.result() or "it did not say why")
