"""The end of one engine: its death, or an order of ours."""

from __future__ import annotations

import asyncio

from ...lifecycle import wait_first
from ..contract.engine import Engine


class EngineEnd:
    """Waits for an engine to die, or to be ended by us.

    reason = await end.wait(engine)  # in the task that runs the engine
    end.order("it stalled")  # anywhere else: the wait returns this reason
    """

    def __init__(self) -> None:
        self._is_ordered = asyncio.Event()
        self._reason = ""

    def order(self, reason: str) -> None:
        """Ends the wait with `reason`; the first order counts."""
        if not self._is_ordered.is_set():
            self._reason = reason
            self._is_ordered.set()

    async def wait(self, engine: Engine) -> str:
        """Returns why `engine` died, or the reason of the order where there is one."""
        lost = asyncio.ensure_future(engine.wait_lost())
        await wait_first(lost, self._is_ordered.wait())
        return self._reason if self._is_ordered.is_set() else lost.result() or "it did not say why"
