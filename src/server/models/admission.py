"""Who runs, who waits and who is refused."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ..contract.errors import AtCapacity, QueueTimeout

# Weight of the newest request in the mean time that a slot is held: about the last ten count.
_HOLD_TIME_WEIGHT = 0.1


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """A place in the queue, 1 being next. `expected_wait_s` is None while nothing is known."""

    place: int
    expected_wait_s: float | None


OnPlace = Callable[[QueuePlace], None]


@dataclass(eq=False, slots=True)
class _Waiter:
    granted: asyncio.Future[None]
    on_place: OnPlace | None
    since_s: float = field(default_factory=time.monotonic)


class Admission:
    """Slots of one model: a number of requests in flight, and a bounded first-come queue."""

    def __init__(self, max_in_flight: int, max_queued: int) -> None:
        self._max_in_flight = max_in_flight
        self._max_queued = max_queued
        self._num_in_flight = 0
        self._queue: deque[_Waiter] = deque()
        self._mean_hold_s: float | None = None

    @property
    def num_in_flight(self) -> int:
        """Requests that hold a slot."""
        return self._num_in_flight

    @property
    def num_queued(self) -> int:
        """Requests that wait for a slot."""
        return len(self._queue)

    def resize(self, max_in_flight: int) -> None:
        """Changes the number of slots; those held beyond a smaller number run to their end."""
        self._max_in_flight = max_in_flight
        self._grant()

    @asynccontextmanager
    async def slot(
        self, max_wait_s: float, on_place: OnPlace | None = None
    ) -> AsyncGenerator[float]:
        """Holds a slot for the body's time, and gives the seconds waited for it.

            async with admission.slot(max_wait_s=30.0) as waited_s:
                async for event in engine.generate(request): ...

        `on_place` is called with the place in the queue, first and on every change.

        Raises:
            AtCapacity: the queue is full, or `max_wait_s` is 0 and no slot is free.
            QueueTimeout: none became free within `max_wait_s`.
        """
        waited_s = await self._enter(max_wait_s, on_place)
        start_s = time.monotonic()
        try:
            yield waited_s
        finally:
            self._record_hold_time(time.monotonic() - start_s)
            self._num_in_flight -= 1
            self._grant()

    async def _enter(self, max_wait_s: float, on_place: OnPlace | None) -> float:
        if self._num_in_flight < self._max_in_flight and not self._queue:
            self._num_in_flight += 1
            return 0.0
        self._check_room(max_wait_s)
        waiter = _Waiter(asyncio.get_running_loop().create_future(), on_place)
        self._queue.append(waiter)
        self._report(waiter, len(self._queue))
        try:
            async with asyncio.timeout(max_wait_s):
                await waiter.granted
        except BaseException as error:
            if waiter.granted.done() and not waiter.granted.cancelled():
                # Granted in the same turn of the loop in which the wait ended: pass it on.
                self._num_in_flight -= 1
                self._grant()
            else:
                self._leave(waiter)
            if isinstance(error, TimeoutError):
                limit_ms = round(max_wait_s * 1000)
                raise QueueTimeout(
                    f"no slot became free within {limit_ms} ms",
                    metadata={"limit_ms": str(limit_ms)},
                ) from None
            raise
        return time.monotonic() - waiter.since_s

    def _check_room(self, max_wait_s: float) -> None:
        if max_wait_s <= 0:
            raise AtCapacity(
                f"every slot is busy, {self._max_in_flight} in all",
                metadata={"limit": str(self._max_in_flight), "actual": str(self._num_in_flight)},
            )
        if len(self._queue) >= self._max_queued:
            raise AtCapacity(
                f"every slot is busy, {self._max_in_flight} in all, and every place in the queue "
                f"is taken, {self._max_queued} in all",
                metadata={"limit": str(self._max_queued), "actual": str(len(self._queue))},
            )

    def _grant(self) -> None:
        has_moved = False
        while self._queue and self._num_in_flight < self._max_in_flight:
            self._queue.popleft().granted.set_result(None)
            self._num_in_flight += 1
            has_moved = True
        if has_moved:
            self._report_places()

    def _leave(self, waiter: _Waiter) -> None:
        self._queue.remove(waiter)
        self._report_places()

    def _report_places(self) -> None:
        for place, waiter in enumerate(self._queue, start=1):
            self._report(waiter, place)

    def _report(self, waiter: _Waiter, place: int) -> None:
        if waiter.on_place is not None:
            expected_s = None
            if self._mean_hold_s is not None:
                expected_s = self._mean_hold_s * place / self._max_in_flight
            waiter.on_place(QueuePlace(place, expected_s))

    def _record_hold_time(self, hold_s: float) -> None:
        if self._mean_hold_s is None:
            self._mean_hold_s = hold_s
        else:
            self._mean_hold_s += _HOLD_TIME_WEIGHT * (hold_s - self._mean_hold_s)
