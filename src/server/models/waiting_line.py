"""The order in which requests wait, and how they hear how far they are."""

from __future__ import annotations

import itertools
import math
import time
from asyncio import Future, Handle, get_running_loop
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field

from .ticket import ReportWait, Ticket, WaitProgress

PRIORITY_STEP_S = 10.0
"""Waiting for so long counts as one step of priority. Less would hardly favour anybody where waits
are long; more would let those of low priority wait until their time is up."""

# Reports of one turn of the event loop, and the pause to the next ones: a loop that has thousands
# to tell spends a small part of its time on it, and each is told its newest place.
_REPORTS_A_TURN = 64
_PAUSE_S = 0.005
_BEFORE_ALL = (float("-inf"), 0)


def _new_future() -> Future[None]:
    return get_running_loop().create_future()


@dataclass(eq=False, slots=True)
class Waiter:
    """A request at the queue. Its wait is `over` once it holds `num_held` slots, or gets none."""

    ticket: Ticket
    report: ReportWait | None = None
    num_held: int = 0
    over: Future[None] = field(default_factory=_new_future)
    reported: WaitProgress | None = None
    key: tuple[float, int] = _BEFORE_ALL


def _key(waiter: Waiter) -> tuple[float, int]:
    return waiter.key


class WaitingLine:
    """Waiting requests by priority and arrival.

    A step of priority is worth `PRIORITY_STEP_S` of waiting, so that whoever waits long enough is
    next, whatever comes: two who wait never change places, because both grow older alike.

    To find a place is a bisection. To enter or leave moves the pointers behind it in one list,
    which takes microseconds for ten thousand. `progress_of` says what there is to tell a waiter.
    """

    def __init__(self, progress_of: Callable[[Waiter], WaitProgress | None]) -> None:
        self._progress_of = progress_of
        self._arrivals = itertools.count()
        # Each waiter as often as it wants slots, so that an index counts the slots ahead.
        self._places: list[Waiter] = []
        self._num_waiters = 0
        self._listeners: list[Waiter] = []
        # The reports under way: the last waiter reached, and whether there is more to tell since.
        self._reached = _BEFORE_ALL
        self._has_changed = False
        self._reporting: Handle | None = None

    def __len__(self) -> int:
        return self._num_waiters

    @property
    def first(self) -> Waiter:
        """Who is next. There must be one."""
        return self._places[0]

    def count_places_ahead(self, waiter: Waiter) -> int:
        """Counts the slots that those ahead of `waiter` want."""
        return bisect_left(self._places, waiter.key, key=_key)

    def would_be_first(self, ticket: Ticket) -> bool:
        """Whether a newcomer goes before all who wait."""
        return not self._places or self._order_of(ticket) < self.first.key[0]

    def count_places_before(self, ticket: Ticket) -> int:
        """Counts the slots that those want who would be ahead of a newcomer."""
        return bisect_right(self._places, (self._order_of(ticket), math.inf), key=_key)

    def add(self, waiter: Waiter) -> None:
        """Lines up behind all of the same priority, and reports to `waiter` where it stands."""
        waiter.key = (self._order_of(waiter.ticket), next(self._arrivals))
        index = self.count_places_ahead(waiter)
        is_last = index == len(self._places)
        self._places[index:index] = [waiter] * waiter.ticket.num_places
        self._num_waiters += 1
        if waiter.report is not None:
            insort(self._listeners, waiter, key=_key)
            self._report(waiter)
        if not is_last:
            self.record_change()

    def discard(self, waiter: Waiter) -> None:
        """Takes `waiter` out, if it is there."""
        index = self.count_places_ahead(waiter)
        if index == len(self._places) or self._places[index] is not waiter:
            return
        del self._places[index : index + waiter.ticket.num_places]
        self._num_waiters -= 1
        if waiter.report is not None:
            del self._listeners[bisect_left(self._listeners, waiter.key, key=_key)]
        if index < len(self._places):
            self.record_change()

    def _order_of(self, ticket: Ticket) -> float:
        return time.monotonic() - ticket.priority * PRIORITY_STEP_S

    def record_change(self) -> None:
        """Has those who listen told what is new for them, some in each turn of the event loop."""
        self._has_changed = True
        if self._reporting is None and self._listeners:
            # In a context of its own: the reports belong to no request.
            self._reporting = get_running_loop().call_soon(self._report_some, context=Context())

    def _report_some(self) -> None:
        self._reporting = None
        if self._reached is _BEFORE_ALL:
            self._has_changed = False
        start = bisect_right(self._listeners, self._reached, key=_key)
        listeners = self._listeners[start : start + _REPORTS_A_TURN]
        is_end = start + len(listeners) == len(self._listeners)
        self._reached = _BEFORE_ALL if is_end else listeners[-1].key
        if not is_end or self._has_changed:
            self._reporting = get_running_loop().call_later(
                _PAUSE_S, self._report_some, context=Context()
            )
        for waiter in listeners:
            self._report(waiter)

    def _report(self, waiter: Waiter) -> None:
        progress = self._progress_of(waiter)
        if waiter.report is not None and progress is not None and progress != waiter.reported:
            waiter.reported = progress
            waiter.report(progress)
