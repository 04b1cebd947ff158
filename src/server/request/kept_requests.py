"""Requests that outlive their callers for a while, so that these can come back."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from ..contract.errors import AtCapacity, InvalidRequest, NotKept, ResumeExpired, TakenOver
from .calls import CallAborted
from .log.log_reader import LogReader
from .log.request_log import RequestLog
from .running_request import RunningRequest

_Name = tuple[str, str]
"""The name of the owner's key, empty where nobody needs one, and the id of the request."""

_LEAST_BYTES: Final = 4 * 1024
"""What one counts for that has said nothing: its log, its names, its timer."""


class ResumeOutcome(enum.Enum):
    """What became of a call that asked for an earlier request."""

    RESUMED = "resumed"
    EXPIRED = "expired"
    """The request, or what it said first behind the position, is not kept."""
    REFUSED = "refused"
    """The call does not fit the request."""


class KeptRequest:
    """A request that goes on without its caller: its log, who reads it, and how long it waits.

    `method` began it. `drop` is called once nobody has come back in time.
    """

    def __init__(
        self,
        name: _Name,
        method: str,
        running: RunningRequest,
        drop: Callable[[KeptRequest], None],
    ) -> None:
        self.name = name
        self.method = method
        self.model_id = running.call.model_id
        self.log = running.log
        self.timeout_s = 0.0
        self.num_bytes = 0
        self._drop = drop
        # Let go of at its end: it refers to the whole prompt.
        self._running: RunningRequest | None = running
        running.task.add_done_callback(lambda _: self._let_go())
        self._reader: LogReader | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    @property
    def is_idle(self) -> bool:
        """Whether it has ended and nobody reads it."""
        return self.log.is_closed and self._reader is None

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self.log.is_closed

    @contextmanager
    def attached(self, reader: LogReader) -> Generator[None]:
        """Has `reader` read it to a caller for the body's time; one before it hears of that."""
        if self._reader is not None:
            self._reader.end(TakenOver())
        self._reader = reader
        self._stop_timer()
        try:
            yield
        finally:
            if self._reader is reader:
                self._reader = None
                if not self._is_over:
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(self.timeout_s, self._drop, self)

    def end(self) -> None:
        """Ends it: nobody can come back any more."""
        self._is_over = True
        self.log.on_growth = None  # which refers to this
        self._stop_timer()
        if self._running is not None:
            self._running.cancel(CallAborted())

    def _let_go(self) -> None:
        self._running = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class KeptRequests:
    """All of them, bounded: `bytes_each` for what one has said, `max_bytes` for all together.

        running = ...                         # a request that writes into a `requests.new_log()`
        kept = requests.keep(running, "Chat", timeout_s=30.0)
        with kept.log.read() as reader, kept.attached(reader): ...
        kept = requests.find("Chat", request_id, key)  # by a later call

    Where there is no room, those go first that have ended and are not read, the oldest at first;
    then the longest of the others lose the first half of what they said.
    """

    def __init__(self, bytes_each: int, max_bytes: int, max_timeout_s: float) -> None:
        self._bytes_each = bytes_each
        self._max_bytes = max_bytes
        self._max_timeout_s = max_timeout_s
        self._kept: dict[_Name, KeptRequest] = {}
        self.num_bytes = 0
        self.num_resumes = dict.fromkeys(ResumeOutcome, 0)

    def __len__(self) -> int:
        return len(self._kept)

    def new_log(self) -> RequestLog:
        """Makes the log of a request that is to be kept."""
        return RequestLog(self._bytes_each, keeps_taken=True)

    def keep(self, running: RunningRequest, method: str, timeout_s: float) -> KeptRequest:
        """Keeps a request that has just started.

        Raises:
            InvalidRequest: one of the same id and owner still runs.
            AtCapacity: there are so many that nothing of what they say could be kept.
        """
        call = running.call
        name = call.context.key, call.context.request_id
        before = self._kept.get(name)
        if before is not None:
            if not before.has_ended:
                raise InvalidRequest(
                    "detach_timeout",
                    f"needs a request id of its own: '{name[1]}' still runs, and can be resumed",
                )
            self._drop(before)
        self._make_room(_LEAST_BYTES)
        if self.num_bytes + _LEAST_BYTES > self._max_bytes:
            limit = self._max_bytes // _LEAST_BYTES
            raise AtCapacity(
                f"no further request can have a detach_timeout, {limit} at most",
                metadata={"limit": str(limit), "actual": str(len(self._kept))},
            )
        kept = KeptRequest(name, method, running, self._drop)
        running.log.on_growth = lambda: self._count(kept)
        self._kept[name] = kept
        self._count(kept)
        self.set_timeout(kept, timeout_s)
        return kept

    def set_timeout(self, kept: KeptRequest, timeout_s: float) -> None:
        """Sets how long a request waits for its caller: this, or the limit where that is less."""
        kept.timeout_s = min(timeout_s, self._max_timeout_s)

    def find(self, method: str, request_id: str, key: str) -> KeptRequest:
        """Finds the request of this id that the caller with this key made.

        Raises:
            NotKept: there is none.
            InvalidRequest: it was made by another method.
        """
        kept = self._kept.get((key, request_id))
        if kept is None:
            raise NotKept(request_id)
        if kept.method != method:
            raise InvalidRequest(
                "resume.request_id", f"is of a request that {kept.method} began, not {method}"
            )
        return kept

    @contextmanager
    def counting(self) -> Generator[None]:
        """Counts what becomes of a call that resumes, which the body looks at."""
        outcome = ResumeOutcome.REFUSED
        try:
            yield
            outcome = ResumeOutcome.RESUMED
        except (NotKept, ResumeExpired):
            outcome = ResumeOutcome.EXPIRED
            raise
        finally:
            self.num_resumes[outcome] += 1

    def close(self) -> None:
        """Ends all of them."""
        for kept in list(self._kept.values()):
            self._drop(kept)

    def _drop(self, kept: KeptRequest) -> None:
        if self._kept.get(kept.name) is kept:
            del self._kept[kept.name]
            self.num_bytes -= kept.num_bytes
        kept.end()

    def _count(self, kept: KeptRequest) -> None:
        """Counts what one has said by now, for every delta."""
        num_bytes = _LEAST_BYTES + kept.log.num_bytes
        self.num_bytes += num_bytes - kept.num_bytes
        kept.num_bytes = num_bytes
        if self.num_bytes > self._max_bytes:
            self._make_room(0)

    def _make_room(self, num_bytes: int) -> None:
        if self.num_bytes + num_bytes <= self._max_bytes:
            return
        for kept in [kept for kept in self._kept.values() if kept.is_idle]:
            self._drop(kept)
            if self.num_bytes + num_bytes <= self._max_bytes:
                return
        while self.num_bytes + num_bytes > self._max_bytes:
            longest = max(self._kept.values(), key=lambda kept: kept.num_bytes)
            if longest.num_bytes <= _LEAST_BYTES:
                return  # nobody has said anything
            longest.log.trim(longest.log.num_bytes // 2)
            self.num_bytes -= longest.num_bytes
            longest.num_bytes = _LEAST_BYTES + longest.log.num_bytes
            self.num_bytes += longest.num_bytes
