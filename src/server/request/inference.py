"""One request's life: rendered, admitted, generated."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace

from ..constraints.checker import ConstraintChecker
from ..contract.engine import EngineRequest, SamplingParams
from ..contract.events import (
    ChoiceFinished,
    Delta,
    Finished,
    FinishReason,
    Prefill,
    Started,
    Told,
)
from ..contract.load_progress import LoadProgress
from ..contract.prompts import RenderedPrompt
from ..media.images import Images
from ..models.models import Models, Route
from ..models.served_model import ServedModel
from ..models.ticket import QueuePlace, Ticket, WaitProgress
from ..settings.server_config import ServerConfig
from .calls import Call, CallEvent, CallFinished, CallStarted, Loading, Queued
from .checks.answer_size import check_answer_size
from .checks.constrained import ConstrainedAnswer, check_demanded, check_kind, find_grammar
from .checks.lora_adapter import find_adapter
from .checks.prompt_checks import check_rendered, choose_prompt, num_bytes_of
from .clock import Clock
from .continuing.continued_generation import NO_CONTINUATION, Continuation, ContinuedGeneration
from .continuing.rendering import render_over_death
from .hidden_thinking import hide_thinking
from .image_checks import add_images, check_images
from .sampling import SamplingDefaults, resolve_sampling

Emit = Callable[[CallEvent], None]


class Inference:
    """Runs calls on the models of this server.

    `images` decodes what the models see; without it no call may have an image. `continuation` says
    whether calls go on when their engine dies.
    """

    def __init__(
        self,
        models: Models,
        defaults: SamplingDefaults,
        queue_timeout_s: float,
        constraints: ConstraintChecker,
        *,
        images: Images | None = None,
        continuation: Continuation = NO_CONTINUATION,
    ) -> None:
        self._models = models
        self._continuation = continuation
        self._constraints = constraints
        self._defaults = defaults
        self._queue_timeout_s = queue_timeout_s
        self._images = images

    @classmethod
    def of(
        cls, config: ServerConfig, models: Models, constraints: ConstraintChecker, images: Images
    ) -> Inference:
        """Makes one that does what the configuration says."""
        return cls(
            models,
            SamplingDefaults.of(config),
            queue_timeout_s=config.queue_timeout_ms / 1000,
            constraints=constraints,
            images=images,
            continuation=Continuation(config.crash_continuation, config.continuation_timeout_s),
        )

    async def run(self, call: Call, emit: Emit, clock: Clock) -> CallFinished:
        """Serves one call, emits its events, and returns the last of them, which it does not emit.

        Whoever hears of the end may ask for more at once: it is told when the slot is free.
        `clock` takes the time of its steps.

        Cancelling it gives up the place in the queue, or aborts the engine's work and returns once
        the engine has let go of it.

        Raises:
            InferenceError: any failure that has a reason of its own for the caller.
        """
        route = self._models.route(call.model_id)
        async with AsyncExitStack() as slot:
            slot.enter_context(route.model.use())
            request, started = await self._prepare(route, call, clock, slot, emit)
            answer = ConstrainedAnswer(request.constraint, self._constraints)
            if not _needs_engine(request.params):
                return await self._say_nothing(request, answer, started, clock, emit)

            def begin(event: Started) -> None:
                cached = event.num_cached_prompt_tokens
                emit(replace(started, num_cached_prompt_tokens=cached))

            def tell_otherwise(event: Prefill | Told) -> None:
                if isinstance(event, Delta):
                    answer.add(event)
                    event = hide_thinking(event) if call.hides_thinking else event
                emit(event)

            is_told_as_it_is = not (request.constraint or call.hides_thinking)
            tell = emit if is_told_as_it_is else tell_otherwise
            # The engine now may be another than the one that rendered: it holds the same model.
            generation = ContinuedGeneration(route.model, request, self._continuation, clock, emit)
            time_limit = asyncio.timeout(call.time_limit_s)
            try:
                async with time_limit:
                    # No coroutine of ours around it but this one: each token goes through all.
                    finished = await generation.run(begin, tell, answer.end)
            except TimeoutError:
                if not time_limit.expired():
                    raise
                if not generation.has_started:
                    emit(started)
                for choice_end in generation.end_open(FinishReason.TIME_LIMIT):
                    emit(await answer.end(choice_end))
                finished = generation.finished
            return clock.summarize(finished, generation.reason, started.num_prompt_tokens)

    async def _prepare(
        self, route: Route, call: Call, clock: Clock, slot: AsyncExitStack, emit: Emit
    ) -> tuple[EngineRequest, CallStarted]:
        """Renders a call and waits for its slots, where it needs an engine."""
        model = route.model
        # Before it waits: a bad constraint needs neither a model nor a slot.
        grammar = await find_grammar(call, self._constraints)

        def report(progress: WaitProgress) -> None:
            match progress:
                case QueuePlace():
                    emit(Queued(progress.place, progress.expected_wait_s))
                case LoadProgress():
                    emit(Loading(progress.text, progress.fraction))

        admitted = model.admission.slot(self._ticket(call), report)

        async def wait_for_slot() -> None:
            clock.begin_wait()
            clock.end_wait(await slot.enter_async_context(admitted))

        # Rendered before it has a slot, unless no engine is there to render it.
        is_rendered_first = model.is_serving
        if not is_rendered_first:
            await wait_for_slot()
        engine = model.engine
        adapter = find_adapter(call, route, engine.info)
        check_kind(call, engine.info)
        clock.begin_render()
        prompt = await self._render(model, call, slot)
        await check_demanded(call, prompt.form, self._constraints)
        num_prompt_tokens = prompt.num_tokens
        clock.end_render(num_prompt_tokens)
        params = resolve_sampling(call.sampling, self._defaults, engine.info, num_prompt_tokens)
        check_answer_size(call, params, num_prompt_tokens)
        started = CallStarted(
            request_id=call.context.request_id,
            model_id=call.model_id,
            model_revision=model.view.revision,
            num_prompt_tokens=num_prompt_tokens,
            num_cached_prompt_tokens=None,
            max_tokens=params.max_tokens,
            seed=params.seed,
        )
        request = EngineRequest(
            request_id=uuid.uuid4().hex,
            prompt=prompt,
            params=params,
            cache_salt=call.cache_salt,
            lora_adapter=adapter,
            trace_headers=call.context.trace.headers(),
            constraint=grammar,
        )
        if is_rendered_first and _needs_engine(params):
            await wait_for_slot()
        return request, started

    async def _say_nothing(
        self,
        request: EngineRequest,
        answer: ConstrainedAnswer,
        started: CallStarted,
        clock: Clock,
        emit: Emit,
    ) -> CallFinished:
        """Ends a request that asks for no token, and nothing of its prompt."""
        emit(started)
        for choice in range(request.params.n):
            emit(await answer.end(ChoiceFinished(FinishReason.LENGTH, choice=choice)))
        return clock.summarize(Finished(0, 0), FinishReason.LENGTH, started.num_prompt_tokens)

    def _ticket(self, call: Call) -> Ticket:
        context = call.context
        return Ticket(
            max_wait_s=self._max_wait_s(call),
            deadline_s=context.deadline_s,
            num_places=call.sampling.n,
            priority=call.priority,
            caller=context.caller,
        )

    def _max_wait_s(self, call: Call) -> float:
        if call.max_queue_wait_s is None:
            return self._queue_timeout_s
        return min(call.max_queue_wait_s, self._queue_timeout_s)

    async def _render(self, model: ServedModel, call: Call, held: AsyncExitStack) -> RenderedPrompt:
        """Renders the prompt. Its images, which `held` keeps, are decoded first."""
        engine = model.engine
        prompt = choose_prompt(call, engine.info)
        check_images(call, engine.info)
        prompt = await add_images(prompt, call, self._images, held)
        async with model.renders.turn(num_bytes_of(prompt)):
            rendered = await render_over_death(model, prompt, self._continuation)
        check_rendered(call, rendered, engine.info)
        return rendered


def _needs_engine(params: SamplingParams) -> bool:
    return params.max_tokens > 0 or params.prompt_logprobs is not None
