"""One request's life: rendered, admitted, generated."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from ..contract.engine import (
    ChatPrompt,
    Delta,
    EngineRequest,
    Finished,
    FinishReason,
    InfillPrompt,
    ModelInfo,
    Prefill,
    Prompt,
    RenderedPrompt,
    Started,
    TextPrompt,
    TokenPrompt,
)
from ..contract.errors import ContextTooLong, InvalidRequest, ModelLoadFailed
from ..contract.load_progress import LoadProgress
from ..models.admission import QueuePlace
from ..models.models import Models, Route
from ..models.served_model import ServedModel
from ..settings.limits import MAX_PROMPT_CHARACTERS
from .calls import Call, CallEvent, CallFinished, CallStarted, Loading, Queued
from .sampling import SamplingDefaults, resolve_sampling

Emit = Callable[[CallEvent], None]


@dataclass(slots=True)
class _Clock:
    """When the steps of one call came, in seconds of the monotonic clock."""

    arrived_s: float
    slot_s: float
    queue_s: float
    first_token_s: float | None = None
    last_token_s: float | None = None

    def record_token(self) -> None:
        self.last_token_s = time.monotonic()
        if self.first_token_s is None:
            self.first_token_s = self.last_token_s

    def summarize(self, finished: Finished, num_prompt_tokens: int) -> CallFinished:
        first_s, last_s = self.first_token_s, self.last_token_s
        return CallFinished(
            reason=finished.reason,
            matched=finished.matched,
            num_prompt_tokens=num_prompt_tokens,
            num_cached_prompt_tokens=finished.num_cached_prompt_tokens,
            num_completion_tokens=finished.num_completion_tokens,
            queue_s=self.queue_s,
            ttft_s=None if first_s is None else first_s - self.arrived_s,
            prefill_s=None if first_s is None else first_s - self.slot_s,
            decode_s=0.0 if first_s is None or last_s is None else last_s - first_s,
        )


@dataclass(frozen=True, slots=True)
class _Wait:
    """When a call arrived, how long it waited for its model, and how long it may for a slot."""

    arrived_s: float
    load_wait_s: float
    max_slot_wait_s: float


class Inference:
    """Runs calls on the models of this server."""

    def __init__(self, models: Models, defaults: SamplingDefaults, queue_timeout_s: float) -> None:
        self._models = models
        self._defaults = defaults
        self._queue_timeout_s = queue_timeout_s

    async def run(self, call: Call, emit: Emit) -> None:
        """Serves one call and emits its events, last a `CallFinished`.

        Cancelling it gives up the place in the queue, or aborts the engine's work and returns once
        the engine has let go of it.

        Raises:
            InferenceError: any failure that has a reason of its own for the caller.
        """
        arrived_s = time.monotonic()
        route = self._models.route(call.model_id)
        max_wait_s = self._max_wait_s(call)

        def report_step(progress: LoadProgress) -> None:
            emit(Loading(progress.text, progress.fraction))

        async with route.model.use(max_wait_s, report_step) as load_wait_s:
            wait = _Wait(arrived_s, load_wait_s, max(0.0, max_wait_s - load_wait_s))
            await self._run_loaded(call, route, wait, emit)

    async def _run_loaded(self, call: Call, route: Route, wait: _Wait, emit: Emit) -> None:
        model = route.model
        engine = model.engine
        adapter = _find_adapter(call, route, engine.info)
        prompt = await self._render(model, call)
        num_prompt_tokens = len(prompt.token_ids)
        if num_prompt_tokens >= engine.info.context_length:
            raise ContextTooLong(call.prompt_field, num_prompt_tokens, engine.info.context_length)
        params = resolve_sampling(call.sampling, self._defaults, engine.info, num_prompt_tokens)
        started = CallStarted(
            request_id=call.request_id,
            model_id=call.model_id,
            model_revision=model.view.revision,
            num_prompt_tokens=num_prompt_tokens,
            num_cached_prompt_tokens=None,
            max_tokens=params.max_tokens,
            seed=params.seed,
        )
        if params.max_tokens == 0:
            emit(started)
            clock = _Clock(wait.arrived_s, slot_s=time.monotonic(), queue_s=wait.load_wait_s)
            emit(clock.summarize(Finished(FinishReason.LENGTH, 0, 0), num_prompt_tokens))
            return

        def report_place(place: QueuePlace) -> None:
            emit(Queued(place.place, place.expected_wait_s))

        request = EngineRequest(
            request_id=uuid.uuid4().hex,
            prompt=prompt,
            params=params,
            cache_salt=call.cache_salt,
            lora_adapter=adapter,
        )
        async with model.admission.slot(wait.max_slot_wait_s, report_place) as slot_wait_s:
            queue_s = wait.load_wait_s + slot_wait_s
            clock = _Clock(wait.arrived_s, slot_s=time.monotonic(), queue_s=queue_s)
            with model.stall_timer.work():
                await self._generate(
                    model, request, call=call, started=started, clock=clock, emit=emit
                )

    def _max_wait_s(self, call: Call) -> float:
        if call.max_queue_wait_s is None:
            return self._queue_timeout_s
        return min(call.max_queue_wait_s, self._queue_timeout_s)

    async def _render(self, model: ServedModel, call: Call) -> RenderedPrompt:
        engine = model.engine
        capabilities = engine.info.capabilities
        prompt = call.prompt
        if isinstance(prompt, ChatPrompt) and not capabilities.chat:
            if call.prompt_without_template is None:
                raise InvalidRequest("model", f"'{call.model_id}' has no chat template")
            prompt = call.prompt_without_template
        if isinstance(prompt, InfillPrompt) and not capabilities.fill_in_the_middle:
            raise InvalidRequest("suffix", f"'{call.model_id}' has no fill-in-the-middle tokens")
        if call.wants_token_ids and not capabilities.token_ids:
            raise InvalidRequest(
                "return_token_ids",
                f"is not supported by the engine of this model, {engine.info.engine}",
            )
        num_characters = _num_characters(prompt)
        if num_characters > MAX_PROMPT_CHARACTERS:
            raise InvalidRequest(
                call.prompt_field,
                f"must have at most {MAX_PROMPT_CHARACTERS} characters, got {num_characters}",
            )
        async with model.renders:
            with model.stall_timer.work():
                rendered = await engine.render(prompt)
            model.stall_timer.record_sign()
            return rendered

    async def _generate(
        self,
        model: ServedModel,
        request: EngineRequest,
        *,
        call: Call,
        started: CallStarted,
        clock: _Clock,
        emit: Emit,
    ) -> None:
        num_prompt_tokens = len(request.prompt.token_ids)
        num_tokens = num_cached = 0
        has_started = False
        # The engine now may be another than the one that rendered: it holds the same model.
        async with aclosing(model.engine.generate(request)) as events:
            time_limit = asyncio.timeout(call.time_limit_s)
            try:
                async with time_limit:
                    async for event in events:
                        model.stall_timer.record_sign()
                        match event:
                            case Prefill():
                                emit(event)
                            case Started(cached):
                                num_cached = cached or 0
                                has_started = True
                                emit(replace(started, num_cached_prompt_tokens=cached))
                            case Delta():
                                num_tokens += event.num_tokens
                                clock.record_token()
                                emit(
                                    event if call.wants_token_ids else replace(event, token_ids=())
                                )
                            case Finished():
                                emit(clock.summarize(event, num_prompt_tokens))
                                return
            except TimeoutError:
                if not time_limit.expired():
                    raise
        if not has_started:
            emit(started)
        end = Finished(FinishReason.TIME_LIMIT, num_tokens, num_cached)
        emit(clock.summarize(end, num_prompt_tokens))


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


def _num_characters(prompt: Prompt) -> int:
    match prompt:
        case ChatPrompt(messages):
            return sum(len(message.content) for message in messages)
        case InfillPrompt(prefix, suffix):
            return len(prefix) + len(suffix)
        case TextPrompt(text):
            return len(text)
        case TokenPrompt(token_ids):
            return len(token_ids)
