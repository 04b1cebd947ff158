"""Sends requests at a pace, and keeps what came of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..lifecycle import end_tasks
from .client_watch import ClientWatch
from .faces.exchange import Clock, Exchange, Failure
from .faces.face import Face, LoadRequest, RequestFailed, Sending
from .pace import Closed, Extent, Load, Open

# A server that refuses at once would be asked thousands of times a second.
_PAUSE_AFTER_FAILURE_S = 0.1


@dataclass(slots=True)
class Progress:
    """Where a measurement stands."""

    num_sent: int = 0
    num_whole: int = 0
    num_failed: int = 0
    num_output_tokens: int = 0

    @property
    def num_in_flight(self) -> int:
        """Requests whose answer is not there yet."""
        return self.num_sent - self.num_whole - self.num_failed


@dataclass(slots=True)
class Measured:
    """What a measurement saw, on one clock. The exchanges are in the order in which they ended."""

    begun_s: float = 0.0
    ended_s: float = 0.0
    is_partial: bool = False
    watch: ClientWatch = field(default_factory=ClientWatch)
    exchanges: list[tuple[LoadRequest, Exchange]] = field(
        default_factory=list[tuple[LoadRequest, Exchange]]
    )


class Measurement:
    """Sends what `requests` yields to one face. `run` it once."""

    def __init__(
        self,
        face: Face,
        sending: Sending,
        requests: Iterator[LoadRequest],
        *,
        load: Load,
        extent: Extent,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._face = face
        self._sending = sending
        self._requests = requests
        self._load = load
        self._extent = extent
        self._clock = clock
        self._stopped = asyncio.Event()
        self._measured = Measured()
        self.progress = Progress()

    def stop(self) -> None:
        """Sends nothing more, and gives up what is in flight: the rest is a partial result."""
        self._stopped.set()

    @property
    def elapsed_s(self) -> float:
        """Time since the first request was due."""
        return self._clock() - self._measured.begun_s

    async def run(self) -> Measured:
        """Returns when the last answer is there, or soon after `stop`."""
        measured = self._measured
        async with measured.watch:
            measured.begun_s = self._clock()
            sending = asyncio.create_task(self._send_all())
            stopped = asyncio.create_task(self._stopped.wait())
            try:
                await asyncio.wait({sending, stopped}, return_when=asyncio.FIRST_COMPLETED)
                measured.is_partial = not sending.done()
            finally:
                await end_tasks(sending, stopped)
            measured.ended_s = self._clock()
        if not sending.cancelled():
            sending.result()  # raises what nobody foresaw
        return measured

    async def _send_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            if isinstance(self._load, Closed):
                for _ in range(self._load.concurrency):
                    group.create_task(self._ask_again_and_again())
            else:
                await self._send_as_they_arrive(group, self._load)

    async def _ask_again_and_again(self) -> None:
        while self._may_send(self._clock()):
            self.progress.num_sent += 1
            is_whole = await self._send(self._clock())
            if not is_whole:
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)

    async def _send_as_they_arrive(self, group: asyncio.TaskGroup, load: Open) -> None:
        waits = load.waits_s()
        due_s = self._measured.begun_s
        while self._may_send(due_s):
            # Late ones are sent at once; their time counts from when they were due.
            await asyncio.sleep(max(0.0, due_s - self._clock()))
            self.progress.num_sent += 1
            group.create_task(self._send(due_s))
            due_s += waits.next_s()

    def _may_send(self, due_s: float) -> bool:
        most, duration_s = self._extent.num_requests, self._extent.duration_s
        if most is not None and self.progress.num_sent >= most:
            return False
        return duration_s is None or due_s - self._measured.begun_s < duration_s

    async def _send(self, due_s: float) -> bool:
        """Sends the next request; returns whether its answer is whole."""
        request = next(self._requests)
        exchange = Exchange(self._clock, due_s)
        try:
            await self._face.send(self._sending, request, exchange)
        except RequestFailed as error:
            exchange.failure = Failure(error.kind, str(error))
        except asyncio.CancelledError:
            exchange.is_interrupted = True
            raise
        finally:
            exchange.end()
            self._measured.exchanges.append((request, exchange))
        if exchange.failure is not None:
            self.progress.num_failed += 1
            return False
        self.progress.num_whole += 1
        self.progress.num_output_tokens += exchange.num_output_tokens
        return True
