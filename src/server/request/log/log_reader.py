"""One reader's place in what a request has said."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .batch import Batch

if TYPE_CHECKING:
    from .request_log import RequestLog


class LogReader:
    """One reader's place in a log. Made by `RequestLog.read`; `position` is what it has taken."""

    __slots__ = (
        "_error",
        "_has_finished",
        "_has_started",
        "_log",
        "_loop",
        "_num_facts",
        "_num_progress",
        "has_ended",
        "position",
        "waiting",
    )

    def __init__(self, log: RequestLog, position: int) -> None:
        self._log = log
        self.position = position
        self.waiting: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._num_facts = 0
        self._num_progress = 0
        self._has_started = False
        self._has_finished = False
        self._error: BaseException | None = None
        self.has_ended = False

    def __enter__(self) -> Self:
        """Reads."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leaves; another reader may go on from `position`."""
        self._log.leave(self)

    @property
    def num_tokens(self) -> int:
        """Tokens generated so far, taken or not."""
        return self._log.num_tokens

    def end(self, error: BaseException) -> None:
        """Has the next `take`, or the one that waits, raise `error`."""
        self._error = error
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)

    async def take(self) -> Batch | None:
        """Waits for the next batch; None once the log is closed and all of it taken.

        Raises:
            ResumeExpired: the reader was so slow that deltas before the next one were dropped.
            BaseException: the error that the log was closed with, behind all that came before it.
        """
        while True:
            batch = self.take_now()
            if batch is not None or self.has_ended:
                return batch
            await self.growth()

    def take_now(self) -> Batch | None:
        """Takes the next batch, None where there is none; raises as `take` does."""
        log = self._log
        if self._error is not None:
            raise self._error
        has_facts = log.num_facts != self._num_facts
        if log.position != self.position:
            deltas = log.take(self)
            batch = Batch(self.position, deltas=deltas)
            if has_facts:
                self._add_facts(batch)
            return batch
        if has_facts:
            batch = Batch(log.position)
            if self._add_facts(batch):
                return batch
        if log.is_closed:
            if log.error is not None:
                raise copy_of(log.error)
            self.has_ended = True
        return None

    def growth(self) -> asyncio.Future[None]:
        """Returns what ends with the log's next event; only where there was nothing to take."""
        # A bare future, because this happens for every token: an event costs twice as much, and
        # CPython 3.11 makes a system call each time that it is asked for the loop.
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self.waiting = self._loop.create_future()
        return self.waiting

    def _add_facts(self, batch: Batch) -> bool:
        """Adds to a batch what is no delta; tells whether there is anything in it then."""
        log = self._log
        if self.position == log.position:
            self._num_facts = log.num_facts  # otherwise there is more to tell, behind what is left
        if log.num_progress != self._num_progress:
            self._num_progress = log.num_progress
            batch.progress = log.progress
        if not self._has_started:
            batch.started = log.started
            self._has_started = log.started is not None
        if not self._has_finished and self.position == log.position:
            batch.finished = log.finished
            self._has_finished = log.finished is not None
        return bool(batch.deltas) or not batch.holds_deltas_alone


def copy_of(error: BaseException) -> BaseException:
    """Copies an error: what is raised refers to its frames, and they to the log that has it.

    Such a ring would keep a request's whole prompt until the garbage collector comes by.
    """
    copy = error.__class__.__new__(error.__class__, *error.args)
    copy.__dict__.update(error.__dict__)
    return copy
