"""Events of one request on their way from the host to its reader."""

from __future__ import annotations

import asyncio

from ....contract.engine import Delta, EngineEvent, Finished, Started
from ....contract.errors import InferenceError


class EventStream:
    """Hands events to one reader; text that he has not taken yet becomes one delta.

    So a reader who never comes costs no more than the text of one answer.
    """

    def __init__(self) -> None:
        self._started: Started | None = None
        self._texts: list[str] = []
        self._token_ids: list[int] = []
        self._end: Finished | InferenceError | None = None
        self._has_event = asyncio.Event()
        self.released = asyncio.Event()

    @property
    def has_ended(self) -> bool:
        """Whether the last event is known, taken or not."""
        return self._end is not None

    def start(self, started: Started) -> None:
        """Puts the event that comes before all text."""
        self._started = started
        self._has_event.set()

    def append(self, text: str, token_ids: tuple[int, ...]) -> None:
        """Puts text behind what is waiting."""
        self._texts.append(text)
        self._token_ids += token_ids
        self._has_event.set()

    def end(self, end: Finished | InferenceError) -> None:
        """Puts the last event, or what is raised in its place. The first one stays."""
        if self._end is None:
            self._end = end
            self._has_event.set()

    async def take(self) -> EngineEvent:
        """Waits for the next event, as long as the engine lives.

        Raises:
            InferenceError: the generation failed, or the engine is lost. At once, before text
                that is still waiting.
        """
        await self._has_event.wait()
        if isinstance(self._end, InferenceError):
            raise self._end
        event: EngineEvent
        if self._started is not None:
            event, self._started = self._started, None
        elif self._texts:
            event = Delta("".join(self._texts), len(self._token_ids), tuple(self._token_ids))
            self._texts, self._token_ids = [], []
        else:
            assert self._end is not None
            event = self._end
        if not self._texts and self._end is None:
            self._has_event.clear()
        return event
