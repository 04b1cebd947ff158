"""Who runs, who waits and who is refused."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from types import SimpleNamespace

import pytest
from tokenwire.server.contract.errors import (
    AtCapacity,
    DeadlineUnreachable,
    EngineLost,
    GpuMemoryFull,
    InferenceError,
    ModelLoadFailed,
    ModelLoading,
    QueueTimeout,
)
from tokenwire.server.contract.load_progress import LoadProgress
from tokenwire.server.models import admission as admission_module
from tokenwire.server.models.admission import Admission
from tokenwire.server.models.ticket import QueuePlace, Ticket, WaitProgress


def _make_admission(
    max_in_flight: int, max_queued: int, error: type[InferenceError] = ModelLoading
) -> Admission:
    """An open one."""
    admission = Admission(max_in_flight, max_queued, lambda: error("it is closed"))
    admission.open(max_in_flight)
    return admission


async def _enter(admission: Admission, stack: AsyncExitStack, wait_s: float = 10) -> float:
    return await stack.enter_async_context(admission.slot(Ticket(wait_s)))


async def test_free_slot_is_given_at_once() -> None:
    """A request with a free slot does not wait."""
    admission = _make_admission(1, 0)
    async with admission.slot(Ticket(0)) as waited_s:
        assert waited_s == 0
        assert admission.num_in_flight == 1
    assert admission.num_in_flight == 0


async def test_first_come_first_served() -> None:
    """Waiting requests get slots in the order in which they came."""
    admission = _make_admission(1, 10)
    order: list[int] = []

    async def request(number: int) -> None:
        async with admission.slot(Ticket(10)):
            order.append(number)

    async with admission.slot(Ticket(0)):
        tasks = []
        for number in range(5):
            tasks.append(asyncio.create_task(request(number)))
            await asyncio.sleep(0)
        assert admission.num_queued == 5
    await asyncio.gather(*tasks)
    assert order == list(range(5))


class Holding:
    """Requests that hold every slot, after some that held one for `hold_s` seconds each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, num_slots: int) -> None:
        self.now_s = 1000.0
        self.admission = _make_admission(num_slots, 100)
        self.num_slots = num_slots
        self.stack = AsyncExitStack()
        clock = SimpleNamespace(monotonic=lambda: self.now_s)
        monkeypatch.setattr(admission_module, "time", clock)

    async def fill(self, hold_s: float | None) -> None:
        if hold_s is not None:
            async with self.admission.slot(Ticket(0)):
                self.now_s += hold_s
        for _ in range(self.num_slots):
            await _enter(self.admission, self.stack)

    async def is_refused(self, deadline_in_s: float, num_places: int = 1) -> bool:
        ticket = Ticket(0.001, deadline_s=self.now_s + deadline_in_s, num_places=num_places)
        try:
            async with self.admission.slot(ticket):
                raise AssertionError("no slot is free")
        except DeadlineUnreachable:
            return True
        except QueueTimeout:
            return False


async def test_deadline_before_the_expected_wait_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who would wait for nothing hears so at once, with both times; who may make it waits."""
    holding = Holding(monkeypatch, num_slots=2)
    await holding.fill(hold_s=10.0)
    with pytest.raises(DeadlineUnreachable) as refused:
        await _enter_until(holding.admission, holding.now_s + 4.9)
    assert refused.value.metadata == {"remaining_ms": "4900", "expected_wait_ms": "5000"}
    assert "4.9 s away, the expected wait for a slot is 5.0 s" in refused.value.message
    assert not await holding.is_refused(5.1)
    # Two slots are free once both holders are done.
    assert await holding.is_refused(9.9, num_places=2)
    assert not await holding.is_refused(10.1, num_places=2)
    await holding.stack.aclose()
    assert (holding.admission.num_in_flight, holding.admission.num_queued) == (0, 0)


async def test_those_ahead_count_for_the_expected_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits longer has less hope; who goes before them all has as much as the first."""
    holding = Holding(monkeypatch, num_slots=1)
    await holding.fill(hold_s=10.0)
    waiting = [asyncio.create_task(_enter_until(holding.admission, None)) for _ in range(2)]
    await asyncio.sleep(0)
    assert await holding.is_refused(29.0)
    assert not await holding.is_refused(31.0)
    urgent = Ticket(0.001, deadline_s=holding.now_s + 11, priority=1)
    with pytest.raises(QueueTimeout):
        async with holding.admission.slot(urgent):
            pass
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await holding.stack.aclose()


async def test_without_a_measure_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing is known of how long slots are held, a deadline is waited for."""
    holding = Holding(monkeypatch, num_slots=1)
    await holding.fill(hold_s=None)
    assert not await holding.is_refused(0.1)
    await holding.stack.aclose()


async def _enter_until(admission: Admission, deadline_s: float | None) -> None:
    async with admission.slot(Ticket(600, deadline_s=deadline_s)):
        pass


async def test_newcomer_does_not_overtake() -> None:
    """While anyone waits, a newcomer waits behind them even if a slot just became free."""
    admission = _make_admission(1, 10)
    order: list[str] = []

    async def request(name: str) -> None:
        async with admission.slot(Ticket(10)):
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
    admission = _make_admission(1, 1)
    async with admission.slot(Ticket(0)):
        waiting = asyncio.create_task(_hold(admission))
        await asyncio.sleep(0)
        with pytest.raises(AtCapacity) as refused:
            async with admission.slot(Ticket(10)):
                pass
        assert refused.value.metadata == {"limit": "1", "actual": "1"}
    await waiting


async def _hold(admission: Admission, wait_s: float = 10) -> None:
    async with admission.slot(Ticket(wait_s)):
        pass


async def test_no_wait_is_refused_at_once() -> None:
    """A request that will not wait is refused when no slot is free, and takes no place."""
    admission = _make_admission(1, 10)
    async with admission.slot(Ticket(0)):
        with pytest.raises(AtCapacity):
            await _hold(admission, 0)
        assert admission.num_queued == 0


async def test_wait_has_a_limit() -> None:
    """A request that waits too long is told the limit, and leaves no trace."""
    admission = _make_admission(1, 10)
    async with admission.slot(Ticket(0)):
        with pytest.raises(QueueTimeout) as refused:
            await _hold(admission, 0.01)
        assert refused.value.metadata == {"limit_ms": "10"}
        assert admission.num_queued == 0
    assert admission.num_in_flight == 0


async def test_leaving_gives_up_the_place() -> None:
    """A waiting request that is cancelled leaves the queue; those behind move up."""
    admission = _make_admission(1, 10)
    places: list[int] = []

    def record(progress: WaitProgress) -> None:
        assert isinstance(progress, QueuePlace)
        places.append(progress.place)

    async def watch() -> None:
        async with admission.slot(Ticket(10), record):
            pass

    async with admission.slot(Ticket(0)):
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
    admission = _make_admission(1, 10)
    stack = AsyncExitStack()
    await _enter(admission, stack)
    first = asyncio.create_task(_hold(admission))
    second = asyncio.create_task(_hold(admission))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await stack.aclose()  # grants to the first
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    async with asyncio.timeout(45):
        await second
    assert admission.num_in_flight == 0


async def test_place_carries_an_estimate_once_known() -> None:
    """The expected wait is unknown at first, then follows how long slots are held."""
    admission = _make_admission(1, 10)
    async with admission.slot(Ticket(0)):
        pass
    seen: list[WaitProgress] = []

    async def watch() -> None:
        async with admission.slot(Ticket(10), seen.append):
            pass

    async with admission.slot(Ticket(0)):
        task = asyncio.create_task(watch())
        await asyncio.sleep(0)
    await task
    assert isinstance(seen[0], QueuePlace)
    assert seen[0].place == 1
    assert seen[0].expected_wait_s is not None


async def test_more_slots_serve_the_waiting() -> None:
    """A larger number of slots is given to those who wait at once."""
    admission = _make_admission(1, 10)
    async with admission.slot(Ticket(0)):
        task = asyncio.create_task(_hold(admission))
        await asyncio.sleep(0)
        admission.open(2)
        async with asyncio.timeout(45):
            await task


async def test_random_traffic_loses_no_slot() -> None:
    """After any mix of ends, cancels and timeouts every slot is free again."""
    admission = _make_admission(3, 8)

    async def request(number: int) -> None:
        async with admission.slot(Ticket(0.001 * (number % 4))):
            await asyncio.sleep(0.0005 * (number % 3))

    tasks = [asyncio.create_task(request(number)) for number in range(300)]
    for number, task in enumerate(tasks):
        if number % 7 == 0:
            await asyncio.sleep(0)
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert admission.num_in_flight == 0
    assert admission.num_queued == 0


async def test_grant_in_the_turn_of_a_cancel_goes_to_the_next() -> None:
    """A slot that comes free in the turn in which the next request is cancelled is not lost."""
    admission = _make_admission(1, 10)
    stack = AsyncExitStack()
    await _enter(admission, stack)
    first = asyncio.create_task(_hold(admission))
    second = asyncio.create_task(_hold(admission))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await stack.aclose()  # grants to the first, which is about to leave
    await asyncio.gather(first, return_exceptions=True)
    async with asyncio.timeout(45):
        await second
    assert admission.num_in_flight == 0


async def test_deadline_shortens_the_wait() -> None:
    """The wait ends at the deadline where that comes before the longest wait."""
    admission = _make_admission(1, 10)
    async with admission.slot(Ticket(0)):
        ticket = Ticket(60, deadline_s=time.monotonic() + 0.01)
        async with asyncio.timeout(30):
            with pytest.raises(QueueTimeout):
                async with admission.slot(ticket):
                    pass
        with pytest.raises(AtCapacity):
            async with admission.slot(ticket):  # the deadline has passed
                pass
        assert admission.num_queued == 0


async def test_more_places_than_slots_take_all_slots() -> None:
    """A request for more slots than there are runs alone, and is not refused for ever."""
    admission = _make_admission(2, 10)
    async with admission.slot(Ticket(0, num_places=5)):
        assert admission.num_in_flight == 1
        with pytest.raises(AtCapacity) as refused:
            await _hold(admission, 0)
        assert refused.value.metadata == {"limit": "2", "actual": "2"}
    await _hold(admission, 0)


class Crowd:
    """Requests at an admission, each of which holds its slots until it is told to leave."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.holders: list[int] = []  # in the order in which they got their slots
        self.tasks: dict[int, asyncio.Task[None]] = {}

    async def enter(self, ticket: Ticket) -> int:
        number = len(self.tasks)

        async def hold() -> None:
            async with self.admission.slot(ticket):
                self.holders.append(number)
                await asyncio.Event().wait()  # until cancelled

        self.tasks[number] = asyncio.create_task(hold())
        await self.settle()
        return number

    async def leave(self, number: int) -> None:
        self.tasks[number].cancel()
        await asyncio.gather(self.tasks[number], return_exceptions=True)
        await self.settle()

    async def settle(self) -> None:
        """Lets the loop run whatever is due: each step is a callback of its next turn."""
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(20))
async def test_slots_go_by_priority_then_arrival(seed: int) -> None:
    """Whoever comes, leaves and wants many slots, and whenever no engine serves: a list agrees.

    The first of the line runs as soon as all its slots are free, and nobody overtakes it.
    """
    chance = random.Random(seed)
    admission = _make_admission(3, 1000)
    crowd = Crowd(admission)
    num_slots, is_open = 3, True
    tickets: dict[int, Ticket] = {}
    line: list[int] = []
    held: dict[int, int] = {}
    granted: list[int] = []
    for _ in range(150):
        match chance.randrange(10):
            case 0:
                num_slots, is_open = chance.randint(1, 5), True
                admission.open(num_slots)
                await crowd.settle()
            case 1:
                is_open = False
                admission.close(None, is_on_demand=True)
            case 2 | 3 | 4 if held:
                number = chance.choice(list(held))
                del held[number]
                await crowd.leave(number)
            case 5 if line:
                number = chance.choice(line)
                line.remove(number)
                await crowd.leave(number)
            case _:
                ticket = Ticket(600, num_places=chance.randint(1, 4), priority=chance.randint(0, 2))
                number = await crowd.enter(ticket)
                tickets[number] = ticket
                line = sorted([*line, number], key=lambda each: -tickets[each].priority)
        while is_open and line:
            wanted = min(tickets[line[0]].num_places, num_slots)
            if sum(held.values()) + wanted > num_slots:
                break
            granted.append(line[0])
            held[line.pop(0)] = wanted
        assert crowd.holders == granted
        assert (admission.num_queued, admission.num_in_flight) == (len(line), len(held))
    for number in (*line, *held):
        await crowd.leave(number)
    assert (admission.num_queued, admission.num_in_flight) == (0, 0)


async def test_closed_for_a_load_on_demand_requests_wait() -> None:
    """Until it opens they hear the steps of the load, then their place; then they run."""
    admission = Admission(1, 10, lambda: ModelLoading("it is closed"))
    admission.close(LoadProgress("reading"), is_on_demand=True)
    seen: list[WaitProgress] = []

    async def watch() -> None:
        async with admission.slot(Ticket(10), seen.append):
            pass

    first = asyncio.create_task(_hold(admission))
    await asyncio.sleep(0)
    second = asyncio.create_task(watch())
    await asyncio.sleep(0)
    admission.close(LoadProgress("warming up"), is_on_demand=True)
    await asyncio.sleep(0)
    assert seen == [LoadProgress("reading"), LoadProgress("warming up")]
    admission.open(1)
    async with asyncio.timeout(45):
        await asyncio.gather(first, second)
    assert seen[2:] == [QueuePlace(1, None)]


async def test_closed_for_another_load_newcomers_are_refused() -> None:
    """Where nobody asked for the load a newcomer hears why; who waited before goes on waiting."""
    admission = _make_admission(1, 10)
    stack = AsyncExitStack()
    await _enter(admission, stack)
    waiting = asyncio.create_task(_hold(admission))
    await asyncio.sleep(0)
    admission.close(LoadProgress("restarting"), is_on_demand=False)
    with pytest.raises(ModelLoading):
        await _hold(admission)
    await stack.aclose()
    await asyncio.sleep(0)
    assert admission.num_queued == 1
    admission.open(1)
    async with asyncio.timeout(45):
        await waiting


async def _lose_engine(admission: Admission, lost: asyncio.Event) -> None:
    async with admission.slot(Ticket(10)):
        await lost.wait()
        raise EngineLost


async def test_slot_of_a_dead_engine_is_given_to_nobody() -> None:
    """A request that lost its engine gives the slot back, and the next one waits for an engine."""
    admission, lost = _make_admission(1, 10), asyncio.Event()
    losing = asyncio.create_task(_lose_engine(admission, lost))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(_hold(admission))
    await asyncio.sleep(0)
    lost.set()
    await asyncio.gather(losing, return_exceptions=True)
    assert (admission.num_queued, admission.num_in_flight) == (1, 0)
    admission.close(LoadProgress("restarting"), is_on_demand=False)
    admission.open(1)
    async with asyncio.timeout(45):
        await waiting


async def test_engine_that_was_not_dead_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no news of a death follow a request's loss, the queue goes on after a while."""
    monkeypatch.setattr("tokenwire.server.models.admission._MAX_NEWS_DELAY_S", 0.01)
    admission, lost = _make_admission(1, 10), asyncio.Event()
    lost.set()
    with pytest.raises(EngineLost):
        await _lose_engine(admission, lost)
    async with asyncio.timeout(45):
        await _hold(admission)


async def test_late_news_of_a_death_hold_up_nobody_at_the_next_engine() -> None:
    """A request that hears of its engine's death when the next one serves suspends nothing."""
    admission, lost = _make_admission(2, 0), asyncio.Event()
    losing = asyncio.create_task(_lose_engine(admission, lost))
    await asyncio.sleep(0)
    admission.close(LoadProgress("restarting"), is_on_demand=False)
    admission.open(2)
    lost.set()
    await asyncio.gather(losing, return_exceptions=True)
    await _hold(admission, 0)  # refused where the slots are suspended


async def test_requests_that_fail_shorten_no_estimate() -> None:
    """How long a slot is held is learnt from requests that succeed or are given up."""
    admission = _make_admission(1, 10)
    with pytest.raises(QueueTimeout):
        async with admission.slot(Ticket(0)):
            raise QueueTimeout("any failure")
    seen: list[WaitProgress] = []

    async def watch() -> None:
        async with admission.slot(Ticket(10), seen.append):
            pass

    async with admission.slot(Ticket(0)):
        task = asyncio.create_task(watch())
        await asyncio.sleep(0)
    await task
    assert seen[0] == QueuePlace(1, None)


@pytest.mark.parametrize("wait_s", [0.0, 0.01])
async def test_wait_for_a_load_that_is_too_long_says_why(wait_s: float) -> None:
    """Who will not wait for the load, or not so long, hears that the model is loading."""
    admission = Admission(1, 10, lambda: ModelLoading("it is closed"))
    admission.close(None, is_on_demand=True)
    with pytest.raises(ModelLoading):
        await _hold(admission, wait_s)
    assert admission.num_queued == 0


async def test_end_ends_every_wait() -> None:
    """When there will be no engine all who wait hear it, however many, and so does who comes."""
    admission = Admission(1, 300, lambda: ModelLoadFailed("it is broken"))
    admission.close(None, is_on_demand=True)
    tasks = [asyncio.create_task(_hold(admission)) for _ in range(300)]
    await asyncio.sleep(0)
    assert admission.num_queued == 300
    tasks[0].cancel()
    admission.end()
    async with asyncio.timeout(45):
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(ends[0], asyncio.CancelledError)
    assert all(isinstance(end, ModelLoadFailed) for end in ends[1:])
    with pytest.raises(ModelLoadFailed):
        await _hold(admission)
    assert (admission.num_queued, admission.num_in_flight) == (0, 0)


def _full() -> InferenceError:
    return GpuMemoryFull(97.2, 95.0)


async def test_refusal_is_for_newcomers() -> None:
    """While requests are refused a free slot is of no use, what runs goes on, and it passes."""
    admission = _make_admission(2, 10)
    async with admission.slot(Ticket(0)):
        admission.refuse(_full)
        with pytest.raises(GpuMemoryFull) as refused:
            await _hold(admission)
        assert refused.value.metadata == {"limit": "95.0", "actual": "97.2"}
        assert (admission.num_in_flight, admission.num_queued) == (1, 0)
    admission.take()
    await _hold(admission, 0)


async def test_refusal_keeps_those_who_wait() -> None:
    """Who waits keeps the place, gets no slot while requests are refused, and runs behind that."""
    admission = _make_admission(1, 10)
    async with admission.slot(Ticket(0)):
        waiting = asyncio.create_task(_hold(admission))
        await asyncio.sleep(0)
        admission.refuse(_full)
    await asyncio.sleep(0)
    assert (admission.num_in_flight, admission.num_queued) == (0, 1)
    admission.take()
    await waiting


async def test_wait_that_ends_under_a_refusal_tells_it() -> None:
    """Whose time is up while requests are refused hears why, and leaves no trace."""
    admission = _make_admission(1, 10)
    async with admission.slot(Ticket(0)):
        waiting = asyncio.create_task(_hold(admission, 0.01))
        await asyncio.sleep(0)
        admission.refuse(_full)
        with pytest.raises(GpuMemoryFull):
            await waiting
    assert (admission.num_in_flight, admission.num_queued) == (0, 0)


async def test_refusal_ends_with_the_engine() -> None:
    """A queue that is closed says why it is, and takes requests once it is opened."""
    admission = _make_admission(1, 10)
    admission.refuse(_full)
    admission.close(None, is_on_demand=False)
    with pytest.raises(ModelLoading):
        await _hold(admission)
    admission.open(1)
    await _hold(admission, 0)
