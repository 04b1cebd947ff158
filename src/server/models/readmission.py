"""How requests come back after an engine's death, so that one of them cannot take all down again.

What is known of a death is which requests the dead engine had: one of them may be the cause, a
*poison*, or none may be. So they do not come back all at once:

1. A request *has gone well* on an engine once the engine told it some new tokens, four at first, or
   ended it. A poison that kills whenever it is computed never gets there.
2. After a death the requests that the engine had get in line: first those that had not gone well,
   last those that had. Whoever comes anew lines up behind all of them.
3. The next engine gets one of the line, then two, four, and so on: the next ones when all before
   have gone well. One that is slow about it, with a long prompt, does not hold the others up for
   more than half a minute. When the line is empty, requests pass freely again.
4. At another death those that had gone well are beyond suspicion. Where the engine had a single one
   that had not, and had it for the second time, that one is the poison: it is failed, and nobody
   else. Where there were several, each that was there for the second time is a *suspect*: suspects
   come back first and one by one, each when the one before has gone well.
5. Where all had gone well and the engine died soon all the same, a poison may have gone well for a
   while: from then on four times as many tokens are needed. A poison found sets that back.

So a good request sees three deaths for each poison that kills whenever it is computed: the first,
one beside it among those who came back, and one behind its own return as a suspect. One that kills
after n tokens costs one more for each time that four must be taken times four to exceed n. An
engine that is killed from outside costs its requests a pause and nothing else, however often; but
one that was alone, and had not gone well twice, is taken for a poison.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import Context
from typing import Final

import structlog

from ..contract.engine import Engine
from ..contract.errors import EngineLost, GenerationFailed, InferenceError

_logger = structlog.get_logger(__name__)

_NUM_TOKENS: Final = 4
_MORE_TOKENS: Final = 4
# Longest time for which one that has not gone well holds up the next ones.
_MAX_HOLD_UP_S: Final = 30.0
# An engine that lived so long did not die soon; as for `RestartBackoff`.
_LONG_LIFE_S: Final = 60.0
# Longest time between a request's loss of its engine and the news that the engine is dead.
_MAX_NEWS_DELAY_S: Final = 5.0


class Presence:
    """One request, as the engines of its model have it. Made by `Readmission.presence`."""

    __slots__ = (
        "_readmission",
        "displaced",
        "has_come",
        "has_gone_well",
        "holding_up",
        "is_held_up",
        "is_suspect",
        "next_turn",
        "num_deaths",
        "num_tokens",
    )

    def __init__(self, readmission: Readmission) -> None:
        self.num_deaths = 0
        self.is_suspect = False
        self.has_gone_well = False
        self.has_come = False  # it knows of its turn, and was on the engine
        self.is_held_up = False  # others no longer wait for it
        self.num_tokens = 0  # of the engine that has it
        self.holding_up: asyncio.TimerHandle | None = None
        self.next_turn: asyncio.Future[Engine] | None = None
        self.displaced = asyncio.Event()  # the death of its engine is known
        self._readmission = readmission

    async def turn(self) -> Engine:
        """Waits for its turn on an engine: the first one, or the one after the engine it had.

        The caller bounds the wait.

        Raises:
            GenerationFailed: it is taken for what killed two engines.
            EngineLost: no other engine comes, or the one that it had is alive.
            ModelLoadFailed: there is no engine, and it never had one.
        """
        if self.next_turn is None:
            self._readmission.line_up(self)
        else:
            try:
                async with asyncio.timeout(_MAX_NEWS_DELAY_S):
                    await self.displaced.wait()
            except TimeoutError:
                raise EngineLost() from None
            self.displaced.clear()
        assert self.next_turn is not None, "who lines up gets a turn to wait for"
        engine = await self.next_turn
        self.has_come = True
        return engine

    def record_tokens(self, num_tokens: int) -> None:
        """Counts what the engine told the request and had not told it before."""
        if not self.has_gone_well:
            self.num_tokens += num_tokens
            self._readmission.judge(self)


class Readmission:
    """Who of one model's requests may go to its engine, and when.

        with readmission.presence() as presence:
            engine = await presence.turn()
            ...                      # until it ends, or raises EngineLost: then another turn

    `explain` makes the error that says why there is no engine.
    """

    def __init__(self, model_id: str, explain: Callable[[], InferenceError]) -> None:
        self._model_id = model_id
        self._explain = explain
        self._engine: Engine | None = None
        self._has_ended = False
        self._serving_since_s = 0.0
        self._line: list[Presence] = []
        self._running: dict[Presence, None] = {}  # in the order of their turns
        self._wave = 0  # the most that come back next; 0: all pass freely
        self._num_tokens_needed = _NUM_TOKENS

    @property
    def num_waiting(self) -> int:
        """Requests that wait for their turn."""
        return len(self._line)

    @contextmanager
    def presence(self) -> Generator[Presence]:
        """Has a request among those that are readmitted, for the body's time."""
        presence = Presence(self)
        try:
            yield presence
        finally:
            self._leave(presence)

    def follow(self, engine: Engine | None, *, has_ended: bool = False) -> None:
        """Takes the engine that serves now; None: the one before is no more.

        `has_ended`: and there will be no other.
        """
        if self._engine is not None and self._engine is not engine:
            self._record_death()
        if engine is not None and self._engine is not engine:
            self._serving_since_s = time.monotonic()
        self._engine = engine
        self._has_ended = has_ended
        if has_ended:
            self._dismiss()
        self._advance()

    def line_up(self, presence: Presence) -> None:
        """Gives a request that comes anew its turn, or a place at the end of the line."""
        presence.next_turn = asyncio.get_running_loop().create_future()
        if self._has_ended:
            presence.next_turn.set_exception(self._explain())
        elif self._engine is not None and not self._wave:
            self._admit(presence, self._engine)
        else:
            self._line.append(presence)
            self._advance()

    def judge(self, presence: Presence) -> None:
        """Looks whether a request has gone well now."""
        if presence in self._running and presence.num_tokens >= self._num_tokens_needed:
            presence.has_gone_well = True
            presence.is_suspect = False
            _stop_timer(presence)
            self._advance()

    def _record_death(self) -> None:
        present = list(self._running)
        self._running.clear()
        if not present:
            return
        unproven = [each for each in present if each.has_come and not each.has_gone_well]
        for each in present:
            each.num_deaths += each.has_come
            each.is_suspect = each.has_come and not each.has_gone_well and each.num_deaths > 1
            _stop_timer(each)
            each.next_turn = asyncio.get_running_loop().create_future()
            each.displaced.set()
        has_lived_long = time.monotonic() - self._serving_since_s >= _LONG_LIFE_S
        if len(unproven) == 1 and unproven[0].is_suspect:
            self._fail(unproven.pop())
            self._num_tokens_needed = _NUM_TOKENS
        elif has_lived_long:
            self._num_tokens_needed = _NUM_TOKENS
        elif not unproven and any(each.num_deaths > 1 for each in present):
            self._num_tokens_needed *= _MORE_TOKENS
        others = [each for each in present if each.has_gone_well or not each.has_come]
        line = [*unproven, *self._line, *others]
        self._line = sorted(line, key=lambda each: not each.is_suspect)
        self._wave = 1

    def _advance(self) -> None:
        """Lets the next ones in, if it is time."""
        engine = self._engine
        if engine is None or (self._wave and any(map(_holds_up, self._running))):
            return
        if not self._line:
            self._wave = 0
            return
        count = self._wave or len(self._line)
        if self._line[0].is_suspect:
            count = 1
        else:
            self._wave *= 2
        coming, self._line = self._line[:count], self._line[count:]
        for presence in coming:
            self._admit(presence, engine)

    def _admit(self, presence: Presence, engine: Engine) -> None:
        presence.has_come = presence.has_gone_well = presence.is_held_up = False
        presence.num_tokens = 0
        self._running[presence] = None
        if self._wave:
            presence.holding_up = asyncio.get_running_loop().call_later(
                _MAX_HOLD_UP_S, self._stop_holding_up, presence, context=Context()
            )
        if presence.next_turn is not None and not presence.next_turn.done():
            presence.next_turn.set_result(engine)

    def _stop_holding_up(self, presence: Presence) -> None:
        presence.is_held_up = True
        self._advance()

    def _fail(self, poison: Presence) -> None:
        _logger.error("poison_found", model=self._model_id, num_deaths=poison.num_deaths)
        error = GenerationFailed(
            "the engine of the model stopped twice while it served this request, which was present "
            "at both deaths, at the second as the only one without progress: it is not tried again",
            metadata={"num_engine_deaths": str(poison.num_deaths)},
        )
        _set_error(poison, error)

    def _dismiss(self) -> None:
        line, self._line = self._line, []
        for presence in line:
            _set_error(presence, _lost_for_good() if presence.num_deaths else self._explain())

    def _leave(self, presence: Presence) -> None:
        _stop_timer(presence)
        self._running.pop(presence, None)
        if presence in self._line:
            self._line.remove(presence)
        turn = presence.next_turn
        if turn is not None and turn.done() and not turn.cancelled():
            turn.exception()  # asyncio would log one that nobody came for
        self._advance()


def _holds_up(presence: Presence) -> bool:
    return not (presence.has_gone_well or presence.is_held_up)


def _lost_for_good() -> EngineLost:
    return EngineLost(
        "the engine of the model stopped while it served this request, and could not be restarted"
    )


def _set_error(presence: Presence, error: InferenceError) -> None:
    if presence.next_turn is not None and not presence.next_turn.done():
        presence.next_turn.set_exception(error)


def _stop_timer(presence: Presence) -> None:
    if presence.holding_up is not None:
        presence.holding_up.cancel()
        presence.holding_up = None
