"""How many prompts of a model are tokenised at once, and how many bytes of them wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ..contract.errors import AtCapacity
from ..settings.fixed_limits import MAX_CONCURRENT_RENDERS, MAX_RENDER_BYTES


class Renders:
    """Lets some render at once and others wait, up to a number of bytes.

    async with renders.turn(num_bytes):
        rendered = await engine.render(prompt)
    """

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(MAX_CONCURRENT_RENDERS)
        self._num_bytes = 0

    @asynccontextmanager
    async def turn(self, num_bytes: int) -> AsyncGenerator[None]:
        """Waits for a turn and holds it for the body's time; those who hold one end the wait.

        Raises:
            AtCapacity: the prompts that are rendered, or wait for it, are too large together.
        """
        if self._num_bytes and self._num_bytes + num_bytes > MAX_RENDER_BYTES:
            raise AtCapacity(
                f"prompts of {self._num_bytes} bytes are being tokenised or wait for it, and with "
                f"one of {num_bytes} more they would be over {MAX_RENDER_BYTES}",
                metadata={
                    "limit": str(MAX_RENDER_BYTES),
                    "actual": str(self._num_bytes + num_bytes),
                },
            )
        self._num_bytes += num_bytes
        try:
            async with self._turns:
                yield
        finally:
            self._num_bytes -= num_bytes
