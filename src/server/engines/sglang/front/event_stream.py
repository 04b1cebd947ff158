"""Events of one request on their way from the host to its reader."""

from __future__ import annotations

import asyncio
from collections import deque

from ....contract.errors import InferenceError
from ....contract.events import EngineEvent, Finished


class EventStream:
    """Hands events to one reader, in order.

    It merges nothing, and is bounded by one answer's tokens alone: whoever reads an engine keeps up
    with it, and merges for callers that do not. `has_ended`: the last event is known, taken or not.
    """

    def __init__(self) -> None:
        self._events = deque[EngineEvent]()
        self._failure: InferenceError | None = None
        self._has_event = asyncio.Event()
        self.has_ended = False
        self.released = asyncio.Event()

    def put(self, event: EngineEvent) -> None:
        """Puts an event behind those that wait. Behind the end there is nothing."""
        if not self.has_ended:
            self.has_ended = isinstance(event, Finished)
            self._events.append(event)
            self._has_event.set()

    def fail(self, failure: InferenceError) -> None:
        """Puts what is raised in place of an end, unless there is one."""
        if not self.has_ended:
            self.has_ended = True
            self._failure = failure
            self._has_event.set()

    async def take(self) -> EngineEvent:
        """Waits for the next event, as long as the engine lives.

        Raises:
            InferenceError: the generation failed, or the engine is lost. At once, before events
                that still wait.
        """
        await self._has_event.wait()
        if self._failure is not None:
            raise self._failure
        event = self._events.popleft()
        if not self._events:
            self._has_event.clear()
        return event
