"""One request's life: rendered, admitted, generated."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace

from ..constraints.checker import ConstraintChecker
from ..contract.engine import EngineRequest, ModelInfo
from ..contract.errors import InvalidRequest, ModelLoadFailed
from ..contract.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    Prefill,
    PromptLogprobs,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
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
from .checks.prompt_checks import check_rendered, choose_prompt, num_bytes_of
from .clock import Clock
from .continuing.continued_generation import NO_CONTINUATION, Continuation, ContinuedGeneration
from .continuing.rendering import render_over_death
from .generated import Generated
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
        """Serves one call and emits its events, the last of them the `CallFinished` returned.

        `clock` takes the time of its steps.

        Cancelling it gives up the place in the queue, or aborts the engine's work and returns once
        the engine has let go of it.

        Raises:
            InferenceError: any failure that has a reason of its own for the caller.
        """
        route = self._models.route(call.model_id)
        async with AsyncExitStack() as slot:
            slot.enter_context(route.model.use())
            return await self._run_on(route, call, clock, slot, emit)

    async def _run_on(
        self, route: Route, call: Call, clock: Clock, slot: AsyncExitStack, emit: Emit
    ) -> CallFinished:
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
        adapter = _find_adapter(call, route, engine.info)
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
        if params.max_tokens == 0 and params.prompt_logprobs is None:
            emit(started)
            answer = ConstrainedAnswer(grammar, self._constraints)
            for choice in range(params.n):
                emit(await answer.end(ChoiceFinished(FinishReason.LENGTH, choice=choice)))
            end = clock.summarize(Finished(0, 0), FinishReason.LENGTH, num_prompt_tokens)
            emit(end)
            return end
        request = EngineRequest(
            request_id=uuid.uuid4().hex,
            prompt=prompt,
            params=params,
            cache_salt=call.cache_salt,
            lora_adapter=adapter,
            trace_headers=call.context.trace.headers(),
            constraint=grammar,
        )
        if is_rendered_first:
            await wait_for_slot()
        return await self._generate(
            model, request, call=call, started=started, clock=clock, emit=emit
        )

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

    async def _generate(
        self,
        model: ServedModel,
        request: EngineRequest,
        *,
        call: Call,
        started: CallStarted,
        clock: Clock,
        emit: Emit,
    ) -> CallFinished:
        progress = Generated(request.params.n)
        is_constrained = bool(request.constraint)
        constrained = ConstrainedAnswer(request.constraint, self._constraints)
        # The engine now may be another than the one that rendered: it holds the same model.
        generation = ContinuedGeneration(model, request, self._continuation, clock, emit)
        async with aclosing(generation.events()) as events:
            time_limit = asyncio.timeout(call.time_limit_s)
            try:
                async with time_limit:
                    async for event in events:
                        match event:
                            case (
                                TextDelta() | ReasoningDelta() | ToolCallDelta() | ChoiceFinished()
                            ):
                                told = await constrained.take(event) if is_constrained else event
                                progress.add(told)
                                clock.record(told)
                                emit(hide_thinking(told) if call.hides_thinking else told)
                            case Prefill() | PromptLogprobs():
                                emit(event)
                            case Started(cached):
                                progress.start(cached)
                                emit(replace(started, num_cached_prompt_tokens=cached))
                            case Finished():
                                end = clock.summarize(
                                    event, progress.reason, started.num_prompt_tokens
                                )
                                emit(end)
                                return end
            except TimeoutError:
                if not time_limit.expired():
                    raise
        if not progress.has_started:
            emit(started)
        for choice_end in progress.end_open(FinishReason.TIME_LIMIT):
            emit(await constrained.end(choice_end))
        end = clock.summarize(progress.finished, progress.reason, started.num_prompt_tokens)
        emit(end)
        return end


def _find_adapter(call: Call, route: Route, info: ModelInfo) -> str:
    """Returns the LoRA adapter that a call asks for, empty for none."""
    name = route.lora_adapter or call.lora_adapter
    if call.lora_adapter and call.lora_adapter != name:
        raise InvalidRequest(
            "lora_adapter",
            f"must be empty or '{name}', because the model asked for is that adapter",
        )
    if not name or name in info.lora_adapters:
        return name
    base = route.model.model_id
    if route.lora_adapter:
        raise ModelLoadFailed(f"LoRA adapter '{name}': the engine of '{base}' did not load it")
    offered = ", ".join(f"'{adapter}'" for adapter in info.lora_adapters) or "none"
    raise InvalidRequest("lora_adapter", f"'{name}' is no adapter of '{base}'; it has {offered}")
