"""What lies between a generation and a client that may read slowly."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..contract.engine import Delta, Prefill
from .calls import CallEvent, CallFinished, CallStarted, Decoding, Loading, ProgressEvent, Queued


@dataclass(slots=True)
class Batch:
    """What came since the last one, in the order of its fields.

    `delta` joins `num_deltas` engine deltas.
    """

    progress: ProgressEvent | None = None
    started: CallStarted | None = None
    delta: Delta | None = None
    num_deltas: int = 0
    finished: CallFinished | None = None


class Relay:
    """Holds one pending batch: deltas that arrive while a write is in flight are merged into it.

    A fast reader waits for nothing; a slow one costs one batch, however far the engine runs ahead.
    """

    def __init__(self) -> None:
        self._pending = Batch()
        self._has_pending = asyncio.Event()
        self._error: BaseException | None = None
        self._is_closed = False
        self.num_tokens = 0

    def put(self, event: CallEvent) -> None:
        """Adds an event to the pending batch."""
        match event:
            case Delta():
                self._add(event)
            case CallStarted():
                self._pending.started = event
                self._pending.progress = None
            case CallFinished():
                self._pending.finished = event
            case Loading() | Queued() | Prefill() | Decoding():
                self._pending.progress = event
        self._has_pending.set()

    def close(self, error: BaseException | None = None) -> None:
        """Ends the relay: what is pending is still taken, then `error` is raised, if any.

        The first call counts.
        """
        if not self._is_closed:
            self._is_closed = True
            self._error = error
            self._has_pending.set()

    async def take(self) -> Batch | None:
        """Waits for the next batch; None once the relay is closed and empty.

        Raises the error that the relay was closed with, after everything that came before it.
        """
        await self._has_pending.wait()
        batch, self._pending = self._pending, Batch()
        if not self._is_closed:
            self._has_pending.clear()
            return batch
        if batch != Batch():
            return batch
        if self._error is not None:
            raise self._error
        return None

    def _add(self, delta: Delta) -> None:
        batch = self._pending
        batch.num_deltas += 1
        self.num_tokens += delta.num_tokens
        if batch.delta is None:
            batch.delta = delta
        else:
            batch.delta = Delta(
                batch.delta.text + delta.text,
                batch.delta.num_tokens + delta.num_tokens,
                batch.delta.token_ids + delta.token_ids,
            )
