"""What an answer consists of while it is generated."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from ..generated.tokenwire.v1 import events_pb2, inference_pb2

Response = inference_pb2.ChatResponse | inference_pb2.GenerateResponse


class FinishReason(enum.Enum):
    """Why a choice ended. UNKNOWN is a reason that a newer server has."""

    UNKNOWN = "unknown"
    STOP = "stop"
    EOS = "eos"
    LENGTH = "length"
    TIME_LIMIT = "time_limit"
    TOOL_CALLS = "tool_calls"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the request stands, in the server's own message; sent with `progress=True` alone."""

    message: events_pb2.Progress


@dataclass(frozen=True, slots=True)
class Started:
    """The engine accepted the request. `seed` is None where the engine honours none."""

    request_id: str
    model: str
    num_prompt_tokens: int
    max_tokens: int
    model_revision: str = ""
    num_cached_prompt_tokens: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class PromptLogprobs:
    """Log-probabilities of the next tokens of the prompt, where the request asks for them."""

    tokens: tuple[events_pb2.PromptTokenLogprob, ...]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text to append. Ids and log-probabilities are there where the request asks for them."""

    text: str
    choice: int = 0
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[events_pb2.TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """Thinking to append."""

    text: str
    choice: int = 0
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """Part of the call `index`; `id` and `name` come with its first part, `arguments` are added."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ChoiceFinished:
    """The end of a choice; `matched` is the stop string or stop token id, for STOP."""

    reason: FinishReason
    choice: int = 0
    matched: str | int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a request, summed over choices."""

    num_prompt_tokens: int = 0
    num_cached_prompt_tokens: int = 0
    num_completion_tokens: int = 0
    num_reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of a request went, in seconds. None: no token came."""

    queue_s: float = 0.0
    ttft_s: float | None = None
    prefill_s: float = 0.0
    decode_s: float = 0.0
    tokens_per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of the answer, always last."""

    usage: Usage
    timings: Timings


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a function answered to a call of the model. Of `run` alone; the next turn follows."""

    id: str
    name: str
    content: str


Delta = TextDelta | ReasoningDelta | ToolCallDelta | ChoiceFinished
Event = Progress | Started | PromptLogprobs | Delta | Finished | ToolResult


def decode_events(response: Response) -> Iterator[Event]:
    """Yields what is in one message of a stream; what a newer server says beyond it is skipped."""
    match response.WhichOneof("event"):
        case "progress":
            yield Progress(response.progress)
        case "started":
            yield _started(response.started)
        case "deltas":
            for delta in response.deltas.deltas:
                yield from _delta(delta)
        case "finished":
            yield _finished(response.finished)
        case _:
            pass


def _started(started: events_pb2.Started) -> Started:
    has_cached = started.HasField("num_cached_prompt_tokens")
    return Started(
        request_id=started.request_id,
        model=started.model,
        num_prompt_tokens=started.num_prompt_tokens,
        max_tokens=started.max_tokens,
        model_revision=started.model_revision,
        num_cached_prompt_tokens=started.num_cached_prompt_tokens if has_cached else None,
        seed=started.seed if started.HasField("seed") else None,
    )


def _delta(delta: events_pb2.Delta) -> Iterator[PromptLogprobs | Delta]:
    choice = delta.choice
    match delta.WhichOneof("kind"):
        case "text":
            text = delta.text
            yield TextDelta(text.text, choice, tuple(text.token_ids), tuple(text.logprobs))
        case "reasoning":
            yield ReasoningDelta(delta.reasoning.text, choice, tuple(delta.reasoning.token_ids))
        case "tool_call":
            call = delta.tool_call
            yield ToolCallDelta(call.index, call.id, call.name, call.arguments, choice)
        case "prompt_logprobs":
            yield PromptLogprobs(tuple(delta.prompt_logprobs.tokens))
        case "finished":
            matched = delta.finished.WhichOneof("matched")
            yield ChoiceFinished(
                _reason(delta.finished.finish_reason),
                choice,
                None if matched is None else getattr(delta.finished, matched),
            )
        case _:
            pass


def _reason(value: int) -> FinishReason:
    try:
        name = events_pb2.FinishReason.Name(events_pb2.FinishReason.ValueType(value))
    except ValueError:
        return FinishReason.UNKNOWN
    short = name.removeprefix("FINISH_REASON_")
    return FinishReason.__members__.get(short, FinishReason.UNKNOWN)


def _finished(finished: events_pb2.Finished) -> Finished:
    usage, timings = finished.usage, finished.timings
    has_first = timings.HasField("time_to_first_token")
    return Finished(
        Usage(
            usage.num_prompt_tokens,
            usage.num_cached_prompt_tokens,
            usage.num_completion_tokens,
            usage.num_reasoning_tokens,
        ),
        Timings(
            _seconds(timings.queue),
            _seconds(timings.time_to_first_token) if has_first else None,
            _seconds(timings.prefill),
            _seconds(timings.decode),
            timings.tokens_per_second,
        ),
    )


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos * 1e-9
