"""How many messages are received at once, and the memory that large ones leave behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ..machine.c_allocator import give_back_free_memory

MAX_CONCURRENT_INTAKES: Final = 8
"""Calls whose message is being received. More of them wait with no more than a window each."""

MAX_INTAKE_S: Final = 1.0
"""After so long a call no longer counts: who sends slowly must not hold up the others."""

MAX_WAIT_S: Final = 2.0
"""After so long a call is received beside the others: many who send nothing delay it, no more."""

_LARGE_BYTES: Final = 1 << 20
_TRIM_DELAY_S: Final = 0.5


class Intake:
    """Bounds the messages that are received at once.

    received = await intake.admit()   # before gRPC reads the message
    received(len(data))               # once it is here
    """

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(MAX_CONCURRENT_INTAKES)
        self._trim: asyncio.TimerHandle | None = None

    async def admit(self) -> Callable[[int], None]:
        """Waits for a turn. It ends with the call of what is returned, or after `MAX_INTAKE_S`."""
        try:
            async with asyncio.timeout(MAX_WAIT_S):
                await self._turns.acquire()
        except TimeoutError:
            return self._record
        is_over = False

        def end() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self._turns.release()

        timer = asyncio.get_running_loop().call_later(MAX_INTAKE_S, end)

        def received(num_bytes: int) -> None:
            timer.cancel()
            end()
            self._record(num_bytes)

        return received

    def _record(self, num_bytes: int) -> None:
        if num_bytes >= _LARGE_BYTES:
            self._trim_later()

    def _trim_later(self) -> None:
        # gRPC receives a large message in thousands of pieces, and the C library keeps what they
        # leave free: after 150 messages of 3.9 MB at once 500 MB stayed with this process.
        if self._trim is not None:
            self._trim.cancel()
        self._trim = asyncio.get_running_loop().call_later(_TRIM_DELAY_S, give_back_free_memory)
