"""What one request has said so far, for readers that come, lag, leave and come back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain, takewhile
from typing import Final

from ...contract.errors import ResumeExpired
from ...contract.events import (
    ChoiceFinished,
    PromptLogprobs,
    ReasoningDelta,
    TextDelta,
    Told,
    ToolCallDelta,
)
from ..calls import CallEvent, CallFinished, CallStarted, ProgressEvent
from .joined_deltas import join_deltas, num_bytes_of
from .log_reader import LogReader, copy_of

MAX_LOG_BYTES: Final = 16 << 20
"""Of one request: far above the longest answer of a model, for readers that never read."""

MAX_BATCH_BYTES: Final = 1 << 20
"""Of the deltas that a reader takes at once, in memory. On the wire they take twice of it at most,
for Latin-1 text, so that a message of them stays under the 4 MiB that clients take by default."""

_MAX_LOOSE: Final = 64
_MAX_LOOSE_BYTES: Final = MAX_BATCH_BYTES // 4
"""Deltas that nobody has taken are joined by so many, or so many bytes: each is copied once, before
it is read."""

_Entry = tuple[int, list[Told], int]
"""The position behind the last delta, deltas that belong together, and their bytes: a plain tuple,
because one is made for every token."""


class RequestLog:
    """Holds what a request says until its readers have taken it.

        log.append(event)                       # by the request, as its engine goes on
        with log.read() as reader:              # any number, each at a place of its own
            while (batch := await reader.take()) is not None:
                send(batch)

    A reader that keeps up gets each event at once; one that lags gets one batch, whose making is
    linear in its size, or several of `MAX_BATCH_BYTES`. What every reader has taken is dropped,
    unless the log `keeps_taken`, so that a reader can go back; while there is no reader, all that
    the last one has not taken is kept. Beyond `max_bytes` the oldest deltas go, and a reader that
    has not taken them gets `ResumeExpired`. `on_growth` is told of each delta.
    """

    __slots__ = (
        "__weakref__",
        "_entries",
        "_keeps_taken",
        "_max_bytes",
        "_num_loose",
        "_num_loose_bytes",
        "_oldest",
        "_readers",
        "error",
        "finished",
        "is_closed",
        "num_bytes",
        "num_facts",
        "num_progress",
        "num_reads",
        "num_tokens",
        "on_growth",
        "position",
        "progress",
        "started",
    )

    def __init__(self, max_bytes: int = MAX_LOG_BYTES, *, keeps_taken: bool = False) -> None:
        self._max_bytes = max_bytes
        self._keeps_taken = keeps_taken
        self.on_growth: Callable[[], None] | None = None
        self._entries: deque[_Entry] = deque()
        self._num_loose = 0
        self._num_loose_bytes = 0
        self._oldest = 0
        self._readers: tuple[LogReader, ...] = ()  # of which there is nearly always one
        self.error: BaseException | None = None
        self.is_closed = False
        self.num_facts = 0
        self.progress: ProgressEvent | None = None
        self.num_progress = 0
        self.started: CallStarted | None = None
        self.finished: CallFinished | None = None
        self.position = 0
        self.num_bytes = 0
        self.num_tokens = self.num_reads = 0

    def append(self, event: CallEvent) -> None:
        """Adds what the request says next."""
        match event:
            case TextDelta() | ReasoningDelta() | ToolCallDelta() | ChoiceFinished():
                self._add(event)
            case PromptLogprobs():
                self._add(event)
            case _:
                self._set_fact(event)
        self._wake()

    def close(self, error: BaseException | None = None) -> None:
        """Ends the log: readers take what is left, then `error` is raised. The first counts."""
        if not self.is_closed:
            self.is_closed = True
            self.error = None if error is None else copy_of(error)
            self._wake()

    def read(self, after: int = 0) -> LogReader:
        """Makes a reader of all that comes behind a position that another was given.

        Raises:
            ResumeExpired: what comes behind it is not kept any more.
        """
        reader = LogReader(self, after)
        self.check_kept(after)
        self._readers += (reader,)
        self.num_reads += 1
        return reader

    def has_told(self, position: int) -> bool:
        """Whether a reader can have been given a position that is still kept, or is the start."""
        # Deltas that were joined while nobody took them have one position for all of them.
        ends = (end for end, _, _ in self._entries)
        return position in (0, self._oldest, self.position) or position in ends

    def check_kept(self, position: int) -> None:
        """Raises `ResumeExpired` where what comes behind `position` is not kept any more."""
        if position < self._oldest:
            raise ResumeExpired(position, self._oldest)

    def trim(self, max_bytes: int) -> None:
        """Drops the oldest deltas until there are no more than `max_bytes`."""
        while self.num_bytes > max_bytes:
            self._oldest, _, num_bytes = self._entries.popleft()
            self.num_bytes -= num_bytes

    def take(self, reader: LogReader) -> Sequence[Told]:
        """Joins what a reader has not taken, up to `MAX_BATCH_BYTES`, and moves it behind that.

        Drops what all readers have taken, with this one.
        """
        self.check_kept(reader.position)
        # What is behind a place that a reader knows is never joined with it.
        self._num_loose = self._num_loose_bytes = 0
        entries = self._entries
        if len(entries) == 1 and len(self._readers) == 1 and not self._keeps_taken:
            # For nearly every token.
            self._oldest, deltas, num_bytes = entries.pop()
            self.num_bytes -= num_bytes
            reader.position = self._oldest
            return deltas
        deltas = join_deltas(chain.from_iterable(self._parts_for(reader)))
        taken = min(reader.position for reader in self._readers)
        while not self._keeps_taken and entries and entries[0][0] <= taken:
            self.trim(self.num_bytes - entries[0][2])
        return deltas

    def leave(self, reader: LogReader) -> None:
        """Lets a reader go; what it has not taken is kept where it was the last one."""
        self._readers = tuple(other for other in self._readers if other is not reader)

    def _parts_for(self, reader: LogReader) -> list[list[Told]]:
        """Gives a reader what comes next, at least one part, and moves it along."""
        # From the newest on: there may be thousands that it has taken.
        newer = list(takewhile(lambda entry: entry[0] > reader.position, reversed(self._entries)))
        parts: list[list[Told]] = []
        room = MAX_BATCH_BYTES
        while newer:
            end, deltas, num_bytes = newer.pop()
            room -= num_bytes
            if room < 0 and parts:
                break
            reader.position = end
            parts.append(deltas)
        return parts

    def _add(self, delta: Told) -> None:
        num_bytes = num_bytes_of(delta)
        self.position += 1
        self.num_bytes += num_bytes
        if not isinstance(delta, (ChoiceFinished, PromptLogprobs)):
            self.num_tokens += delta.num_tokens
        self._entries.append((self.position, [delta], num_bytes))
        self._num_loose += 1
        self._num_loose_bytes += num_bytes
        if self._num_loose == _MAX_LOOSE or self._num_loose_bytes > _MAX_LOOSE_BYTES:
            self._join_loose()
        self.trim(self._max_bytes)
        if self.on_growth is not None:
            self.on_growth()

    def _set_fact(self, event: ProgressEvent | CallStarted | CallFinished) -> None:
        self.num_facts += 1
        match event:
            case CallStarted():
                self.started = event
                self.progress = None
            case CallFinished():
                self.finished = event
            case _:
                self.progress = event
                self.num_progress += 1

    def _join_loose(self) -> None:
        count = min(self._num_loose, len(self._entries))
        loose = [self._entries.pop() for _ in range(count)][::-1]
        deltas = join_deltas(chain.from_iterable(deltas for _, deltas, _ in loose))
        num_bytes = sum(map(num_bytes_of, deltas))
        self.num_bytes += num_bytes - sum(num_bytes for _, _, num_bytes in loose)
        self._entries.append((loose[-1][0], deltas, num_bytes))
        self._num_loose = self._num_loose_bytes = 0

    def _wake(self) -> None:
        for reader in self._readers:
            waiting = reader.waiting
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
