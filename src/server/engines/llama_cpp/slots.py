"""The slots of llama.cpp: sequences that it runs at once, each with its own part of the cache."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from ...contract.token_ids import TokenIds


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot, and the prompt whose keys and values it holds, with the salt it was sent with."""

    index: int
    token_ids: TokenIds = field(default_factory=TokenIds)
    cache_salt: str = ""


class Slots:
    """Gives each request a slot of its own, the one that knows most of its prompt.

        slot = await slots.take(token_ids, cache_salt)
        ...  # until the server has let go of it, also after an abort
        slots.give_back(Slot(slot.index, token_ids, cache_salt))

    Chosen here and not by the server: a request beyond the slots would be queued inside the
    server, where nothing can cancel it; a slot's number tells whether an aborted request is gone;
    and the server knows no salts.
    """

    def __init__(self, num_slots: int) -> None:
        self._free = [Slot(index) for index in range(num_slots)]  # least recently used first
        self._permits = asyncio.Semaphore(num_slots)
        self.num_waiting = 0

    async def take(self, token_ids: TokenIds, cache_salt: str) -> Slot:
        """Waits for a free slot. The wait ends with the requests that hold the others."""
        self.num_waiting += 1
        try:
            await self._permits.acquire()
        finally:
            self.num_waiting -= 1
        slot = max(
            self._free,
            # max keeps the first of equals: the least recently used.
            key=lambda slot: (
                _num_common(slot.token_ids, token_ids) if slot.cache_salt == cache_salt else 0
            ),
        )
        self._free.remove(slot)
        return slot

    def give_back(self, slot: Slot) -> None:
        """Returns a slot that the server has let go of, with what it holds now."""
        self._free.append(slot)
        self._permits.release()


def _num_common(left: TokenIds, right: TokenIds) -> int:
    # Slices are compared in C: for long prompts far faster than a loop over pairs.
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
