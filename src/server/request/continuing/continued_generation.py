"""One generation on one engine after another, told as if one engine had made it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Final

from ...contract.engine import Engine, EngineRequest
from ...contract.errors import EngineLost
from ...contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    Prefill,
    PromptLogprobs,
    ReasoningDelta,
    Said,
    Started,
    TextDelta,
    Told,
    ToolCallDelta,
)
from ...models.readmission import Presence
from ...models.served_model import ServedModel
from ..calls import Decoding, Restarting
from ..clock import Clock
from .told_answer import AnsweredOtherwise, ToldAnswer

Tell = Callable[[Prefill | Told], None]
Begin = Callable[[Started], None]
FinishChoice = Callable[[ChoiceFinished], Awaitable[ChoiceFinished]]


@dataclass(frozen=True, slots=True)
class Continuation:
    """Whether requests go on when their engine dies, and the longest wait for another one."""

    is_on: bool
    max_wait_s: float


NO_CONTINUATION: Final = Continuation(is_on=False, max_wait_s=0.0)


class ContinuedGeneration:
    """Runs one request of an engine, and goes on with it on the next engine when that one dies.

        generation = ContinuedGeneration(model, request, continuation, clock, emit)
        finished = await generation.run(begin, tell, finish_choice)

    What it tells is in the order of `contract/events.py`, with each thing once. `emit` gets a
    `Restarting` at each death, and a `Decoding` when it goes on; `clock` takes the time between.
    Where `run` is cut short, `end_open` ends the choices that have no end, and `finished` is the
    end that no engine came to say.
    """

    __slots__ = (
        "_clock",
        "_continuation",
        "_emit",
        "_is_paused",
        "_model",
        "_num_cached_tokens",
        "_num_engines_lost",
        "_num_prompt_again",
        "_num_prompt_told",
        "_request",
        "_told",
        "has_started",
    )

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
        self._told = ToldAnswer(request.params.n, clock.record)
        self._is_paused = False
        self._num_engines_lost = 0
        self.has_started = False
        self._num_cached_tokens = 0
        self._num_prompt_told = self._num_prompt_again = 0

    async def run(self, begin: Begin, tell: Tell, finish_choice: FinishChoice) -> Finished:
        """Tells what engines tell, and returns the end; raises as `Engine.generate` does.

        `begin` gets the first `Started`. The end of a choice goes through `finish_choice` before it
        is told.
        """
        told, record_sign = self._told, self._model.stall_timer.record_sign
        with self._presence() as presence, told.settling():
            while not told.has_ended:
                engine = await self._next_engine(presence)
                try:
                    async with self._generating(engine) as events:
                        # No coroutine and no generator of ours within: each token goes through.
                        async for event in events:
                            record_sign()
                            match event:
                                case TextDelta() | ReasoningDelta() | ToolCallDelta():
                                    self._tell_new(event, presence, tell)
                                case ChoiceFinished():
                                    told.check_end(event)
                                    end = await finish_choice(event)
                                    # Only now: a time limit within ends the choice by itself.
                                    told.take_end(event)
                                    self._go_on()
                                    tell(end)
                                case Finished():
                                    self._go_on()
                                    return told.finish(event, self._num_cached_tokens)
                                case _:
                                    self._tell_before(event, begin, tell)
                except AnsweredOtherwise:
                    raise
                except EngineLost:
                    if presence is None:
                        raise
                    self._pause()
                told.rewind()
        return told.finish(None, self._num_cached_tokens)

    @property
    def reason(self) -> FinishReason:
        """Why the first choice ended."""
        return self._told.first_reason

    @property
    def finished(self) -> Finished:
        """The end of what was told so far, which no engine came to say."""
        told = self._told
        return Finished(told.num_tokens, self._num_cached_tokens, told.num_thought_tokens)

    def end_open(self, reason: FinishReason) -> list[ChoiceFinished]:
        """Ends the choices that have no end yet."""
        return self._told.end_open(reason)

    def _presence(self) -> AbstractContextManager[Presence | None]:
        is_on = self._continuation.is_on
        return self._model.readmission.presence() if is_on else nullcontext()

    @asynccontextmanager
    async def _generating(self, engine: Engine) -> AsyncGenerator[AsyncGenerator[EngineEvent]]:
        with self._model.stall_timer.work():
            async with aclosing(engine.generate(self._next_request())) as events:
                yield events

    def _tell_new(self, said: Said, presence: Presence | None, tell: Tell) -> None:
        """Tells what was not told of an engine before."""
        new = self._told.take(said)
        if new is None:
            return
        if presence is not None and not presence.has_gone_well:
            presence.record_tokens(new.num_tokens)
        if self._is_paused:
            self._go_on()
        tell(new)

    def _tell_before(
        self, event: Prefill | Started | PromptLogprobs, begin: Begin, tell: Tell
    ) -> None:
        """Tells what comes before the first delta, and was not told of an engine before."""
        match event:
            case Prefill():
                if not self.has_started:
                    tell(event)
            case PromptLogprobs():
                prompt = self._take_prompt(event)
                if prompt is not None:
                    tell(prompt)
            case Started(num_cached_tokens):
                if not self.has_started:
                    self.has_started = True
                    self._num_cached_tokens = num_cached_tokens or 0
                    begin(event)

    async def _next_engine(self, presence: Presence | None) -> Engine:
        if presence is None:
            return self._model.engine
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
