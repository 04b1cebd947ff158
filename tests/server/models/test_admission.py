"""Who runs, who waits and who is refused."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from tokenwire.server.contract.errors import AtCapacity, QueueTimeout
from tokenwire.server.models.admission import Admission, QueuePlace


async def _enter(admission: Admission, stack: AsyncExitStack, wait_s: float = 10) -> float:
    return await stack.enter_async_context(admission.slot(wait_s))


async def test_free_slot_is_given_at_once() -> None:
    """A request with a free slot does not wait."""
    admission = Admission(1, 0)
    async with admission.slot(0) as waited_s:
        assert waited_s == 0
        assert admission.num_in_flight == 1
    assert admission.num_in_flight == 0


async def test_first_come_first_served() -> None:
    """Waiting requests get slots in the order in which they came."""
    admission = Admission(1, 10)
    order: list[int] = []

    async def request(number: int) -> None:
        async with admission.slot(10):
            order.append(number)

    async with admission.slot(0):
        tasks = []
        for number in range(5):
            tasks.append(asyncio.create_task(request(number)))
            await asyncio.sleep(0)
        assert admission.num_queued == 5
    await asyncio.gather(*tasks)
    assert order == list(range(5))


async def test_newcomer_does_not_overtake() -> None:
    """While anyone waits, a newcomer waits behind them even if a slot just became free."""
    admission = Admission(1, 10)
    order: list[str] = []

    async def request(name: str) -> None:
        async with admission.slot(10):
            order.append(name)

    async with AsyncExitStack() as stack:
        await _enter(admission, stack)
        first = asyncio.create_task(request("first"))
        await asyncio.sleep(0)
        await stack.aclose()
        second = asyncio.create_task(request("second"))
        await asyncio.gather(first, second)
    assert order == ["first", "second"]


async def test_full_queue_is_refused_with_numbers() -> None:
    """With every slot and place taken, a request is refused, and told the limit."""
    admission = Admission(1, 1)
    async with admission.slot(0):
        waiting = asyncio.create_task(_hold(admission))
        await asyncio.sleep(0)
        with pytest.raises(AtCapacity) as refused:
            async with admission.slot(10):
                pass
        assert refused.value.metadata == {"limit": "1", "actual": "1"}
    await waiting


async def _hold(admission: Admission, wait_s: float = 10) -> None:
    async with admission.slot(wait_s):
        pass


async def test_no_wait_is_refused_at_once() -> None:
    """A request that will not wait is refused when no slot is free, and takes no place."""
    admission = Admission(1, 10)
    async with admission.slot(0):
        with pytest.raises(AtCapacity):
            await _hold(admission, 0)
        assert admission.num_queued == 0


async def test_wait_has_a_limit() -> None:
    """A request that waits too long is told the limit, and leaves no trace."""
    admission = Admission(1, 10)
    async with admission.slot(0):
        with pytest.raises(QueueTimeout) as refused:
            await _hold(admission, 0.01)
        assert refused.value.metadata == {"limit_ms": "10"}
        assert admission.num_queued == 0
    assert admission.num_in_flight == 0


async def test_leaving_gives_up_the_place() -> None:
    """A waiting request that is cancelled leaves the queue; those behind move up."""
    admission = Admission(1, 10)
    places: list[int] = []

    async def watch() -> None:
        async with admission.slot(10, lambda place: places.append(place.place)):
            pass

    async with admission.slot(0):
        first = asyncio.create_task(_hold(admission))
        await asyncio.sleep(0)
        second = asyncio.create_task(watch())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert admission.num_queued == 1
        assert places == [2, 1]
    await second


async def test_cancel_in_the_turn_of_the_grant_passes_the_slot_on() -> None:
    """A slot granted to a request that is cancelled in the same turn goes to the next one."""
    admission = Admission(1, 10)
    stack = AsyncExitStack()
    await _enter(admission, stack)
    first = asyncio.create_task(_hold(admission))
    second = asyncio.create_task(_hold(admission))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await stack.aclose()  # grants to the first
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    async with asyncio.timeout(5):
        await second
    assert admission.num_in_flight == 0


async def test_place_carries_an_estimate_once_known() -> None:
    """The expected wait is unknown at first, then follows how long slots are held."""
    admission = Admission(1, 10)
    async with admission.slot(0):
        pass
    seen: list[QueuePlace] = []

    async def watch() -> None:
        async with admission.slot(10, seen.append):
            pass

    async with admission.slot(0):
        task = asyncio.create_task(watch())
        await asyncio.sleep(0)
    await task
    assert seen[0].place == 1
    assert seen[0].expected_wait_s is not None


async def test_more_slots_serve_the_waiting() -> None:
    """A larger number of slots is given to those who wait at once."""
    admission = Admission(1, 10)
    async with admission.slot(0):
        task = asyncio.create_task(_hold(admission))
        await asyncio.sleep(0)
        admission.resize(2)
        async with asyncio.timeout(5):
            await task


async def test_random_traffic_loses_no_slot() -> None:
    """After any mix of ends, cancels and timeouts every slot is free again."""
    admission = Admission(3, 8)

    async def request(number: int) -> None:
        async with admission.slot(0.001 * (number % 4)):
            await asyncio.sleep(0.0005 * (number % 3))

    tasks = [asyncio.create_task(request(number)) for number in range(300)]
    for number, task in enumerate(tasks):
        if number % 7 == 0:
            await asyncio.sleep(0)
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert admission.num_in_flight == 0
    assert admission.num_queued == 0
