"""One generation on one engine after another, told as if one engine had made it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from ...contract.engine import Engine, EngineRequest
from ...contract.errors import EngineLost
from ...contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    Prefill,
    PromptLogprobs,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from ...models.readmission import Presence
from ...models.served_model import ServedModel
from ..calls import Decoding, Restarting
from ..clock import Clock
from .told_answer import AnsweredOtherwise, ToldAnswer


@dataclass(frozen=True, slots=True)
class Continuation:
    """Whether requests go on when their engine dies, and the longest wait for another one."""

    is_on: bool
    max_wait_s: float


NO_CONTINUATION: Final = Continuation(is_on=False, max_wait_s=0.0)


class ContinuedGeneration:
    """Runs one request of an engine, and goes on with it on the next engine when that one dies.

        generation = ContinuedGeneration(model, request, continuation, clock, emit)
        async with aclosing(generation.events()) as events:
            async for event in events: ...

    What it yields is in the order of `contract/events.py`, with each thing once. `emit` gets a
    `Restarting` at each death, and a `Decoding` when it goes on; `clock` takes the time between.
    """

    def __init__(
        self,
        model: ServedModel,
        request: EngineRequest,
        continuation: Continuation,
        clock: Clock,
        emit: Callable[[Restarting | Decoding], None],
    ) -> None:
        self._model = model
        self._request = request
        self._continuation = continuation
        self._clock = clock
        self._emit = emit
        self._told = ToldAnswer(request.params.n)
        self._is_paused = False
        self._num_engines_lost = 0
        self._has_started = False
        self._num_cached_tokens = 0
        self._num_prompt_told = self._num_prompt_again = 0

    async def events(self) -> AsyncGenerator[EngineEvent]:
        """Yields what engines tell, up to the end; raises as `Engine.generate` does."""
        if not self._continuation.is_on:
            async with aclosing(self._generate_once()) as events:
                async for event in events:
                    yield event
            return
        record_sign = self._model.stall_timer.record_sign
        with self._model.readmission.presence() as presence:
            while not self._told.has_ended:
                engine = await self._wait_for_turn(presence)
                try:
                    # One loop, and no generators within: it is gone through for every token.
                    with self._model.stall_timer.work():
                        async with aclosing(engine.generate(self._next_request())) as events:
                            async for event in events:
                                record_sign()
                                new = self._take(event, presence)
                                if new is not None:
                                    yield new
                                if isinstance(new, Finished):
                                    return
                except AnsweredOtherwise:
                    raise
                except EngineLost:
                    self._pause()
                self._told.rewind()
        yield self._told.finish(None, self._num_cached_tokens)

    async def _generate_once(self) -> AsyncGenerator[EngineEvent]:
        with self._model.stall_timer.work():
            async with aclosing(self._model.engine.generate(self._request)) as events:
                async for event in events:
                    self._model.stall_timer.record_sign()
                    yield event

    async def _wait_for_turn(self, presence: Presence) -> Engine:
        waiting = asyncio.timeout(self._continuation.max_wait_s)
        try:
            async with waiting:
                return await presence.turn()
        except TimeoutError:
            if not waiting.expired():
                raise
            raise EngineLost(
                "the engine of the model stopped, and none could go on with this request within "
                f"{self._continuation.max_wait_s:g} s"
            ) from None

    def _next_request(self) -> EngineRequest:
        """Returns what the next engine is asked for."""
        if not self._num_engines_lost:
            return self._request
        params = self._request.params
        self._num_prompt_again = self._num_prompt_told
        if self._num_prompt_told >= self._request.prompt.num_tokens:
            # Once more they would cost the whole prompt, which the cache may have.
            params = replace(params, prompt_logprobs=None)
        return replace(
            self._request,
            request_id=uuid.uuid4().hex,  # an engine may know a request by it for ever
            params=params,
            earlier=self._told.earlier,
        )

    def _take(self, event: EngineEvent, presence: Presence) -> EngineEvent | None:
        """Returns what an event tells that was not told before."""
        match event:
            case TextDelta() | ReasoningDelta() | ToolCallDelta():
                new = self._told.take(event)
                if new is not None:
                    if not presence.has_gone_well:
                        presence.record_tokens(new.num_tokens)
                    if self._is_paused:
                        self._go_on()
                return new
            case ChoiceFinished():
                self._told.take_end(event)
                self._go_on()
                return event
            case Prefill():
                return None if self._has_started else event
            case PromptLogprobs():
                return self._take_prompt(event)
            case Started(num_cached_tokens):
                if self._has_started:
                    return None
                self._has_started = True
                self._num_cached_tokens = num_cached_tokens or 0
                return event
            case Finished():
                self._go_on()
                return self._told.finish(event, self._num_cached_tokens)

    def _take_prompt(self, told: PromptLogprobs) -> PromptLogprobs | None:
        """Leaves out the tokens that an engine before told."""
        new = told.tokens[self._num_prompt_again :]
        self._num_prompt_again = max(0, self._num_prompt_again - len(told.tokens))
        self._num_prompt_told += len(new)
        return PromptLogprobs(new) if new else None

    def _pause(self) -> None:
        self._is_paused = True
        self._num_engines_lost += 1
        self._clock.begin_pause()
        self._emit(Restarting(self._num_engines_lost))

    def _go_on(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._clock.end_pause()
            self._emit(Decoding(self._told.num_tokens))
