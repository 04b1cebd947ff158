"""Requests that outlive their callers for a while, so that these can come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

from ..contract.errors import AtCapacity, InvalidRequest, NotKept, TakenOver
from .calls import Call, CallAborted
from .request_log import LogReader, RequestLog
from .running_request import RunningRequest

_Name = tuple[str, str]
"""The name of the owner's key, empty where nobody needs one, and the id of the request."""


class KeptRequest:
    """One of them: its log, who reads it, and how long it waits for a reader that left."""

    def __init__(
        self, name: _Name, method: str, model_id: str, log: RequestLog, drop: Callable[[], None]
    ) -> None:
        self.name = name
        self.method = method
        self.model_id = model_id
        self.log = log
        self.timeout_s = 0.0
        self._drop = drop
        self._running: RunningRequest | None = None
        self._reader: LogReader | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self.log.is_closed

    @property
    def is_read(self) -> bool:
        """Whether a caller reads it."""
        return self._reader is not None

    def begin(self, running: RunningRequest) -> None:
        """It runs now. What it ran with, the whole prompt, is let go of at its end."""
        self._running = running
        running.task.add_done_callback(lambda _: self._let_go())

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
                self._timer = asyncio.get_running_loop().call_later(self.timeout_s, self._drop)

    def end(self) -> None:
        """Ends it: nobody can come back any more."""
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

        kept = requests.keep(call, "Chat", timeout_s=30.0)
        kept.begin(running)                   # which writes into `kept.log`
        with log.read() as reader, kept.attached(reader): ...
        kept = requests.find("Chat", request_id, key)  # by a later call

    One that runs counts with all it may say; one that has ended, with what it said, and goes first
    where there is no room.
    """

    def __init__(self, bytes_each: int, max_bytes: int, max_timeout_s: float) -> None:
        self._bytes_each = bytes_each
        self._max_bytes = max_bytes
        self._max_timeout_s = max_timeout_s
        self._kept: dict[_Name, KeptRequest] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def num_bytes(self) -> int:
        """What all of them count for."""
        return sum(map(self._count_bytes, self._kept.values()))

    def keep(self, call: Call, method: str, timeout_s: float) -> KeptRequest:
        """Keeps a request that is about to start.

        Raises:
            InvalidRequest: one of the same id and owner still runs.
            AtCapacity: what runs needs all the room there is.
        """
        name = call.context.key, call.context.request_id
        before = self._kept.get(name)
        if before is not None:
            if not before.has_ended:
                raise InvalidRequest(
                    "detach_timeout",
                    f"needs a request id of its own: '{name[1]}' still runs, and can be resumed",
                )
            self._drop(before)
        self._make_room()
        log = RequestLog(self._bytes_each, keeps_taken=True)
        kept = KeptRequest(name, method, call.model_id, log, lambda: self._drop(kept))
        self._kept[name] = kept
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

    def forget(self, kept: KeptRequest) -> None:
        """Takes one back that did not come to start."""
        self._kept.pop(kept.name, None)

    def close(self) -> None:
        """Ends all of them."""
        for kept in list(self._kept.values()):
            self._drop(kept)

    def _drop(self, kept: KeptRequest) -> None:
        if self._kept.get(kept.name) is kept:
            del self._kept[kept.name]
        kept.end()

    def _make_room(self) -> None:
        idle = iter([kept for kept in self._kept.values() if kept.has_ended and not kept.is_read])
        while self.num_bytes + self._bytes_each > self._max_bytes:
            oldest = next(idle, None)
            if oldest is None:
                limit = self._max_bytes // self._bytes_each
                raise AtCapacity(
                    f"no further request can have a detach_timeout, {limit} do",
                    metadata={"limit": str(limit), "actual": str(len(self._kept))},
                )
            self._drop(oldest)

    def _count_bytes(self, kept: KeptRequest) -> int:
        return kept.log.num_bytes if kept.has_ended else self._bytes_each
