"""Which slot a request takes."""

from __future__ import annotations

import asyncio

import pytest
from tokenwire.server.contract.token_ids import TokenIds
from tokenwire.server.engines.llama_cpp.slots import Slot, Slots


async def fill(slots: Slots, *prompts: tuple[tuple[int, ...], str]) -> None:
    """Lets each slot hold a prompt, in order of their numbers."""
    taken = [await slots.take(TokenIds(), "") for _ in prompts]
    for slot, (token_ids, salt) in zip(taken, prompts, strict=True):
        slots.give_back(Slot(slot.index, TokenIds.of(token_ids), salt))


async def test_longest_prefix_wins() -> None:
    """A request takes the slot that holds most of its prompt."""
    slots = Slots(3)
    await fill(slots, ((1, 2, 9), ""), ((1, 2, 3, 9), ""), ((7, 8), ""))
    assert (await slots.take(TokenIds.of((1, 2, 3, 4)), "")).index == 1


async def test_least_recently_used_without_prefix() -> None:
    """A new prompt takes the slot that was unused for the longest time."""
    slots = Slots(2)
    await fill(slots, ((1, 2), ""), ((3, 4), ""))
    assert (await slots.take(TokenIds.of((5, 6)), "")).index == 0


async def test_salts_do_not_mix() -> None:
    """A prefix under another salt counts for nothing."""
    slots = Slots(2)
    await fill(slots, ((9,), ""), ((1, 2, 3), "theirs"))
    assert (await slots.take(TokenIds.of((1, 2, 3)), "mine")).index == 0


async def test_own_salt_is_found() -> None:
    """A prefix under the same salt counts."""
    slots = Slots(2)
    await fill(slots, ((1, 2, 3), ""), ((1, 2, 3), "mine"))
    assert (await slots.take(TokenIds.of((1, 2, 3)), "mine")).index == 1


async def test_waits_for_a_slot() -> None:
    """With all slots taken a request waits until one comes back."""
    slots = Slots(1)
    slot = await slots.take(TokenIds(), "")
    waiting = asyncio.create_task(slots.take(TokenIds.of((1,)), ""))
    await asyncio.sleep(0)
    assert not waiting.done()
    slots.give_back(slot)
    assert (await waiting).index == slot.index


async def test_cancelled_wait_loses_no_slot() -> None:
    """A request that gives up waiting leaves the slot to the next."""
    slots = Slots(1)
    slot = await slots.take(TokenIds(), "")
    waiting = asyncio.create_task(slots.take(TokenIds(), ""))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    slots.give_back(slot)
    assert (await slots.take(TokenIds(), "")).index == slot.index
