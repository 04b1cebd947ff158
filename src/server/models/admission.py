"""Who runs, who waits and who is refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from ..contract.errors import (
    AtCapacity,
    DeadlineUnreachable,
    EngineLost,
    InferenceError,
    QueueTimeout,
)
from ..contract.load_progress import LoadProgress
from .ticket import QueuePlace, ReportWait, Ticket, WaitProgress
from .waiting_line import Waiter, WaitingLine

# Weight of the newest request in the mean time that a slot is held: about the last ten count.
_HOLD_TIME_WEIGHT = 0.1
# Waits that one turn of the event loop ends when there is nothing more to wait for.
_ENDS_A_TURN = 64
# Longest time between a request's loss of its engine and the news that the engine is dead.
_MAX_NEWS_DELAY_S = 1.0


class Admission:
    """Slots of one model, and the one queue in which requests wait for its load and for a slot.

    It is closed until an engine serves. `explain_closed` makes the error that says why it is.
    """

    def __init__(
        self, max_in_flight: int, max_queued: int, explain_closed: Callable[[], InferenceError]
    ) -> None:
        self._num_slots = max_in_flight
        self._max_queued = max_queued
        self._max_waiting = max_in_flight + max_queued
        self._explain_closed = explain_closed
        self._explain_refusal: Callable[[], InferenceError] | None = None
        self._is_open = False
        self._num_closings = 0
        self._is_on_demand = False
        self._load_progress: LoadProgress | None = None
        self._resuming: asyncio.TimerHandle | None = None
        self._num_in_flight = 0
        self._num_held = 0
        self._line = WaitingLine(self._progress_of)
        self._mean_hold_s: float | None = None

    @property
    def num_slots(self) -> int:
        """Slots of the engine that serves, or of the one before."""
        return self._num_slots

    @property
    def num_in_flight(self) -> int:
        """Requests that hold a slot."""
        return self._num_in_flight

    @property
    def num_queued(self) -> int:
        """Requests that wait for a slot, or for the model to be loaded."""
        return len(self._line)

    def open(self, num_slots: int) -> None:
        """Lets requests run in `num_slots` slots; those held beyond them run to their end."""
        self._is_open = True
        self._num_slots = num_slots
        self._line.record_change()
        self._resume()

    def close(self, progress: LoadProgress | None, *, is_on_demand: bool) -> None:
        """Lets none run until it is opened: the model is loading, and is as far as `progress`.

        Those who wait go on waiting. Others may join them where requests ask for the load,
        `is_on_demand`, and are refused where they do not.
        """
        self._is_open = False
        self._num_closings += 1
        self._explain_refusal = None  # it was of the engine that is gone
        self._resume()
        self._is_on_demand = is_on_demand
        self._load_progress = progress
        self._line.record_change()

    def refuse(self, explain: Callable[[], InferenceError]) -> None:
        """Refuses who comes, with the error made, and lets none of those who wait run.

        They keep their places, until `take` or the end of their wait. What runs goes on.
        """
        self._explain_refusal = explain

    def take(self) -> None:
        """Takes requests again, after `refuse`."""
        self._explain_refusal = None
        self._grant()

    def end(self) -> None:
        """Ends every wait with the error that explains it: it will never be opened again."""
        self.close(None, is_on_demand=False)
        for _ in range(min(_ENDS_A_TURN, len(self._line))):
            self._dismiss(self._line.first)
        if self._line:
            asyncio.get_running_loop().call_soon(self.end)

    @asynccontextmanager
    async def slot(self, ticket: Ticket, report: ReportWait | None = None) -> AsyncGenerator[float]:
        """Holds the slots of a ticket for the body's time, and gives the seconds waited for them.

            async with admission.slot(Ticket(max_wait_s=30.0)) as waited_s:
                async for event in engine.generate(request): ...

        A ticket for more slots than there are takes all of them. `report` is called with the place
        in the queue or the step of the load, first and when it changes.

        Raises:
            AtCapacity: the queue is full, or the ticket allows no wait and no slot is free.
            QueueTimeout: none became free in time.
            DeadlineUnreachable: none is expected to become free before the deadline.
            InferenceError: requests are refused, for the reason given with `refuse`.
            ModelLoading: none serves in time, or the model loads without having been asked.
            ModelLoadFailed: none will serve.
        """
        waiter = Waiter(ticket, report)
        waited_s = await self._enter(waiter)
        start_s = time.monotonic()
        num_closings = self._num_closings
        has_failed = False
        try:
            yield waited_s
        except InferenceError as error:
            has_failed = True
            # A request may hear of its engine's death when the next one serves already.
            if isinstance(error, EngineLost) and num_closings == self._num_closings:
                self._suspend()
            raise
        finally:
            if not has_failed:  # most that fail do at once, which says nothing of the others
                self._record_hold_time(time.monotonic() - start_s)
            self._leave(waiter)

    async def _enter(self, waiter: Waiter) -> float:
        if self._explain_refusal is not None:
            raise self._explain_refusal()
        if self._is_next(waiter.ticket):
            self._hold(waiter)
            return 0.0
        start_s = time.monotonic()
        max_wait_s = waiter.ticket.max_wait_s
        if waiter.ticket.deadline_s is not None:
            max_wait_s = min(max_wait_s, waiter.ticket.deadline_s - start_s)
        self._check_room(max_wait_s)
        self._check_deadline(waiter.ticket, start_s)
        self._line.add(waiter)
        try:
            async with asyncio.timeout(max_wait_s):
                await waiter.over
        except BaseException as error:
            # Also what it was granted in the turn of the loop in which the wait ended.
            self._leave(waiter)
            if isinstance(error, TimeoutError):
                raise self._explain_timeout(max_wait_s) from None
            raise
        if not waiter.num_held:
            raise self._explain_closed()
        return time.monotonic() - start_s

    def _is_next(self, ticket: Ticket) -> bool:
        """Whether a newcomer may run at once: it fits, and goes before all who wait."""
        return self._fits(ticket) and self._line.would_be_first(ticket)

    def _fits(self, ticket: Ticket) -> bool:
        is_running = self._is_open and self._resuming is None and self._explain_refusal is None
        return is_running and self._num_held + self._count_slots(ticket) <= self._num_slots

    def _count_slots(self, ticket: Ticket) -> int:
        return min(ticket.num_places, self._num_slots)

    def _check_room(self, max_wait_s: float) -> None:
        if not self._is_open and (not self._is_on_demand or max_wait_s <= 0):
            raise self._explain_closed()
        if max_wait_s <= 0:
            raise AtCapacity(
                f"every slot is busy, {self._num_slots} in all",
                metadata={"limit": str(self._num_slots), "actual": str(self._num_held)},
            )
        limit, busy = self._max_waiting, "the model is loading"
        if self._is_open:
            limit, busy = self._max_queued, f"every slot is busy, {self._num_slots} in all"
        if len(self._line) >= limit:
            raise AtCapacity(
                f"{busy}, and every place in the queue is taken, {limit} in all",
                metadata={"limit": str(limit), "actual": str(len(self._line))},
            )

    def _check_deadline(self, ticket: Ticket, now_s: float) -> None:
        """Refuses who would wait for nothing. A wait for a load has no expectation."""
        if ticket.deadline_s is None or not self._is_open:
            return
        expected_s = self._expect_wait(self._line.count_places_before(ticket), ticket)
        if expected_s is not None and now_s + expected_s > ticket.deadline_s:
            raise DeadlineUnreachable(expected_s, ticket.deadline_s - now_s)

    def _explain_timeout(self, max_wait_s: float) -> InferenceError:
        if not self._is_open:
            return self._explain_closed()
        if self._explain_refusal is not None:
            return self._explain_refusal()
        limit_ms = round(max_wait_s * 1000)
        return QueueTimeout(
            f"no slot became free within {limit_ms} ms", metadata={"limit_ms": str(limit_ms)}
        )

    def _grant(self) -> None:
        # Who wants more slots than are free holds up those behind it, or would never get them.
        while self._line and self._fits(self._line.first.ticket):
            self._hold(self._line.first)
            self._dismiss(self._line.first)

    def _suspend(self) -> None:
        """Grants nothing until it is closed: the next request would meet the same dead engine."""
        if self._is_open and self._resuming is None:
            self._resuming = asyncio.get_running_loop().call_later(_MAX_NEWS_DELAY_S, self._resume)

    def _resume(self) -> None:
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None
        self._grant()

    def _dismiss(self, waiter: Waiter) -> None:
        self._line.discard(waiter)
        if not waiter.over.done():
            waiter.over.set_result(None)

    def _hold(self, waiter: Waiter) -> None:
        waiter.num_held = self._count_slots(waiter.ticket)
        self._num_held += waiter.num_held
        self._num_in_flight += 1

    def _leave(self, waiter: Waiter) -> None:
        self._line.discard(waiter)
        if waiter.num_held:
            self._num_held -= waiter.num_held
            self._num_in_flight -= 1
        self._grant()

    def _progress_of(self, waiter: Waiter) -> WaitProgress | None:
        if not self._is_open:
            return self._load_progress
        num_ahead = self._line.count_places_ahead(waiter)
        return QueuePlace(num_ahead + 1, self._expect_wait(num_ahead, waiter.ticket))

    def _expect_wait(self, num_ahead: int, ticket: Ticket) -> float | None:
        """Expects that slots become free one by one, each after its share of the mean hold."""
        if self._mean_hold_s is None:
            return None
        return self._mean_hold_s * (num_ahead + ticket.num_places) / self._num_slots

    def _record_hold_time(self, hold_s: float) -> None:
        if self._mean_hold_s is None:
            self._mean_hold_s = hold_s
        else:
            self._mean_hold_s += _HOLD_TIME_WEIGHT * (hold_s - self._mean_hold_s)
