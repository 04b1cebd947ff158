"""The spans of a request: `chat` or `text_completion`, and its steps below it.

They are made at its end, with the times that its steps had: while it runs, they cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ...tracing.wall_clock import wall_clock
from ..contract.errors import UnsupportedModel
from ..contract.prompts import ChatPrompt
from ..request.calls import Call, CallAborted, CallFailed, CallFinished
from ..request.ended_request import EndedRequest

if TYPE_CHECKING:
    from ...tracing.tracer import Attributes, Tracer

PROVIDER: Final = "tokenwire"
"""Who answers, whatever engine does: `gen_ai.provider.name`."""

ENGINE_LOST_EVENT: Final = "tokenwire.engine_lost"
CONTINUED_EVENT: Final = "tokenwire.continued"
"""What happens to a request whose engine dies, and when another one goes on with it."""

_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
_CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"


class RequestSpans:
    """Traces requests under the spans of their calls."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def record(self, ended: EndedRequest) -> None:
        """Makes the spans of a request: an observer of requests."""
        parent = ended.call.context.trace
        if not parent.is_sampled:
            return
        in_ns = wall_clock()
        failure = ended.outcome.reason if isinstance(ended.outcome, CallFailed) else ""
        span = self._tracer.begin_at(_name(ended), parent, in_ns(ended.timeline.arrived_s))
        for step in _steps(ended):
            begun = self._tracer.begin_at(step.name, span.context, in_ns(step.began_s))
            is_error = bool(failure) and not step.is_complete
            begun.end(
                step.numbers,
                error_type=failure if is_error else "",
                is_error=is_error,
                end_ns=in_ns(step.ended_s),
            )
        for pause in ended.pauses:
            span.add_event(ENGINE_LOST_EVENT, {}, in_ns(pause.began_s))
            if pause.ended_s is not None:
                pause_s = {"tokenwire.pause_s": round(pause.ended_s - pause.began_s, 3)}
                span.add_event(CONTINUED_EVENT, pause_s, in_ns(pause.ended_s))
        span.end(
            _describe(ended),
            error_type=failure,
            is_error=bool(failure),
            end_ns=in_ns(ended.timeline.ended_s),
        )


@dataclass(frozen=True, slots=True)
class _Step:
    """A step that a request came to. The one that its end cut short is not complete."""

    name: str
    began_s: float
    ended_s: float
    is_complete: bool
    numbers: Attributes


def _steps(ended: EndedRequest) -> Iterator[_Step]:
    times = ended.timeline
    started, finished = ended.started, ended.outcome
    prompt = {} if ended.num_prompt_tokens is None else {_INPUT_TOKENS: ended.num_prompt_tokens}

    def step(name: str, began_s: float, ended_s: float | None, numbers: Attributes) -> _Step:
        if ended_s is None:
            return _Step(name, began_s, times.ended_s, is_complete=False, numbers=numbers)
        return _Step(name, began_s, ended_s, is_complete=True, numbers=numbers)

    if times.render_began_s is not None:
        yield step("render", times.render_began_s, times.rendered_s, prompt)
    if times.queued_s is not None:
        yield step("queue", times.queued_s, times.admitted_s, {})
    if times.prefill_began_s is not None and not _asks_nothing(ended):
        cached = started.num_cached_prompt_tokens if started is not None else None
        numbers = prompt if cached is None else {**prompt, _CACHED_TOKENS: cached}
        yield step("prefill", times.prefill_began_s, times.first_token_s, numbers)
    if times.first_token_s is not None:
        numbers = {_OUTPUT_TOKENS: ended.num_completion_tokens}
        if isinstance(finished, CallFinished):
            rate = round(finished.tokens_per_second, 3)
            yield step(
                "decode",
                times.first_token_s,
                times.last_token_s,
                {**numbers, "tokenwire.tokens_per_second": rate},
            )
        else:
            yield step("decode", times.first_token_s, None, numbers)


def _asks_nothing(ended: EndedRequest) -> bool:
    """Whether nothing was asked for: the engine has no part in it."""
    has_tokens = ended.started is None or ended.started.max_tokens > 0
    return not has_tokens and ended.call.sampling.prompt_logprobs is None


def _name(ended: EndedRequest) -> str:
    operation = _operation(ended.call)
    return operation if _is_unknown_model(ended) else f"{operation} {ended.call.model_id}"


def _is_unknown_model(ended: EndedRequest) -> bool:
    """Whether the name of the model is the caller's own text, which belongs in no span."""
    return ended.outcome == CallFailed(UnsupportedModel.reason)


def _operation(call: Call) -> str:
    return "chat" if isinstance(call.prompt, ChatPrompt) else "text_completion"


def _describe(ended: EndedRequest) -> Attributes:
    call, outcome = ended.call, ended.outcome
    sampling = call.sampling
    known: dict[str, str | int | float | tuple[str, ...] | None] = {
        "gen_ai.operation.name": _operation(call),
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": None if _is_unknown_model(ended) else call.model_id,
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.top_k": sampling.top_k or None,
        "gen_ai.request.frequency_penalty": sampling.frequency_penalty or None,
        "gen_ai.request.presence_penalty": sampling.presence_penalty or None,
        "gen_ai.response.id": call.context.request_id,
        "tokenwire.key": call.context.key or None,
        _INPUT_TOKENS: ended.num_prompt_tokens,
        _OUTPUT_TOKENS: ended.num_completion_tokens,
        "tokenwire.num_resumes": ended.num_resumes or None,
    }
    if ended.started is not None:
        known["gen_ai.request.seed"] = ended.started.seed
        known["gen_ai.response.model"] = ended.started.model_id
        known[_CACHED_TOKENS] = ended.started.num_cached_prompt_tokens
    times = ended.timeline
    if times.first_token_s is not None:
        known["gen_ai.response.time_to_first_chunk"] = times.first_token_s - times.arrived_s
    match outcome:
        case CallFinished():
            known["tokenwire.outcome"] = "finished"
            known["gen_ai.response.finish_reasons"] = (outcome.reason.value,)
            known[_CACHED_TOKENS] = outcome.num_cached_prompt_tokens
            known["gen_ai.usage.reasoning.output_tokens"] = outcome.num_reasoning_tokens
        case CallFailed(reason):
            known["tokenwire.outcome"] = "failed"
            known["tokenwire.reason"] = reason
        case CallAborted():
            known["tokenwire.outcome"] = "aborted"
    return {name: value for name, value in known.items() if value is not None}
