"""The order of the line, its places, and who is told of them, beside a list sorted anew."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace

import pytest
from tokenwire.server.models import waiting_line
from tokenwire.server.models.ticket import QueuePlace, Ticket, WaitProgress
from tokenwire.server.models.waiting_line import PRIORITY_STEP_S, Waiter, WaitingLine

SEEDS = range(20)


class Listener:
    """Keeps what one waiter was told, and refuses to be told a thing twice."""

    def __init__(self) -> None:
        self.places: list[int] = []
        self.has_heard = asyncio.Event()

    def __call__(self, progress: WaitProgress) -> None:
        assert isinstance(progress, QueuePlace)
        assert progress.place not in self.places[-1:]
        self.places.append(progress.place)
        self.has_heard.set()


def make_line() -> WaitingLine:
    line = WaitingLine(lambda waiter: QueuePlace(line.count_places_ahead(waiter) + 1, None))
    return line


def make_waiter(num_places: int = 1, priority: int = 0, report: Listener | None = None) -> Waiter:
    return Waiter(Ticket(10, num_places=num_places, priority=priority), report)


def places_of(waiters: list[Waiter]) -> list[int]:
    """The place of each: one more than all slots that those before it want."""
    places, next_place = [], 1
    for waiter in waiters:
        places.append(next_place)
        next_place += waiter.ticket.num_places
    return places


async def next_turn_of_reports() -> None:
    """Until the loop has made the calls that are due in its next turn."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


@pytest.mark.parametrize("seed", SEEDS)
async def test_order_and_places_are_those_of_a_sorted_list(seed: int) -> None:
    """Whoever comes and leaves: higher priorities first, then arrival, and slots ahead counted."""
    chance = random.Random(seed)
    line, expected = make_line(), list[Waiter]()
    for _ in range(300):
        if expected and chance.random() < 0.4:
            waiter = expected.pop(chance.randrange(len(expected)))
            line.discard(waiter)
            line.discard(waiter)  # who is not there is not missed
        else:
            waiter = make_waiter(chance.randint(1, 4), chance.randint(-2, 2))
            line.add(waiter)
            # Stable: behind those of the same priority.
            expected = sorted([*expected, waiter], key=lambda each: -each.ticket.priority)
        assert len(line) == len(expected)
        assert not expected or line.first is expected[0]
        ahead = [line.count_places_ahead(waiter) + 1 for waiter in expected]
        assert ahead == places_of(expected)


async def test_waiting_makes_up_for_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of priority is worth its time of waiting, so that nobody waits for ever."""
    now_s = 0.0
    monkeypatch.setattr(waiting_line, "time", SimpleNamespace(monotonic=lambda: now_s))
    line, low, high = make_line(), make_waiter(), make_waiter(priority=1)
    line.add(low)
    now_s = PRIORITY_STEP_S - 1
    assert line.would_be_first(high.ticket)
    assert line.count_places_before(high.ticket) == 0
    now_s = PRIORITY_STEP_S + 1
    assert not line.would_be_first(high.ticket)
    assert line.count_places_before(high.ticket) == 1
    line.add(high)
    assert line.first is low
    urgent = make_waiter(priority=100)
    line.add(urgent)
    assert line.first is urgent


@pytest.mark.parametrize("seed", SEEDS)
async def test_listeners_hear_their_newest_place(seed: int) -> None:
    """After any changes each listener was last told the place that it has."""
    chance = random.Random(seed)
    line, expected = make_line(), list[Waiter]()
    listeners: dict[Waiter, Listener] = {}
    for _ in range(100):
        if expected and chance.random() < 0.4:
            waiter = expected.pop(chance.randrange(len(expected)))
            line.discard(waiter)
        else:
            listener = Listener() if chance.random() < 0.5 else None
            waiter = make_waiter(chance.randint(1, 4), chance.randint(-2, 2), listener)
            line.add(waiter)
            expected = sorted([*expected, waiter], key=lambda each: -each.ticket.priority)
            if listener is not None:
                listeners[waiter] = listener
                assert listener.places == [line.count_places_ahead(waiter) + 1]
        if chance.random() < 0.3:
            await next_turn_of_reports()
    await next_turn_of_reports()
    for waiter, place in zip(expected, places_of(expected), strict=True):
        if waiter in listeners:
            assert listeners[waiter].places[-1] == place


async def test_thousands_are_told_over_many_turns() -> None:
    """One change tells a bounded number in a turn of the loop, and everybody in the end."""
    line = make_line()
    listeners = [Listener() for _ in range(1000)]
    waiters = [make_waiter(report=listener) for listener in listeners]
    for waiter in waiters:
        line.add(waiter)
    line.discard(waiters[0])
    await next_turn_of_reports()
    assert 0 < sum(len(listener.places) == 2 for listener in listeners) <= 100
    line.discard(waiters[1])  # while the others are being told
    async with asyncio.timeout(30):
        for place, listener in enumerate(listeners[2:], start=1):
            while listener.places[-1] != place:
                listener.has_heard.clear()
                await listener.has_heard.wait()


async def test_last_to_leave_tells_nobody() -> None:
    """Who leaves the end of the line changes nothing for those before it."""
    line, listener = make_line(), Listener()
    last = make_waiter()
    line.add(make_waiter(report=listener))
    line.add(last)
    line.discard(last)
    await next_turn_of_reports()
    assert listener.places == [1]
