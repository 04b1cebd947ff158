"""What an engine says of one generation, in the front and on the socket to SGLang's host alike.

A generation is any number of `Prefill`, one `Started`, what is told of its prompt, the deltas of
its choices, and one `Finished`; `Prefill` may also come right after `Started`. The deltas of a
choice are in order, and the last one is its `ChoiceFinished`; those of several choices may be
interleaved.

    async for event in engine.generate(request):
        match event:
            case TextDelta():
                show(event.choice, event.text)
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec


class FinishReason(enum.Enum):
    """Why a choice ended."""

    STOP = "stop"
    EOS = "eos"
    LENGTH = "length"
    TIME_LIMIT = "time_limit"
    TOOL_CALLS = "tool_calls"


class _Event(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """One thing that happened. A new one is added here, and nowhere else between the processes."""


class Prefill(_Event, frozen=True):
    """The engine read `num_processed_tokens` of the prompt, cached ones included."""

    num_processed_tokens: int
    num_prompt_tokens: int


class Started(_Event, frozen=True):
    """The engine took the request: from here on it is bound to produce an answer."""

    num_cached_prompt_tokens: int | None = None


class TopLogprob(msgspec.Struct, frozen=True, array_like=True):
    """One of the likeliest tokens at a place, with its natural log-probability."""

    token_id: int
    logprob: float
    text: bytes


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """An output token's natural log-probability. `text` need not be whole characters."""

    token_id: int
    logprob: float
    text: bytes
    top: tuple[TopLogprob, ...] = ()


class PromptTokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """A prompt token's natural log-probability; None: it has none, and nothing is likely there."""

    token_id: int
    logprob: float | None
    text: bytes
    top: tuple[TopLogprob, ...] = ()


class PromptLogprobs(_Event, frozen=True):
    """Log-probabilities of the next tokens of the prompt, for a request that asks for them.

    All come behind `Started` and before the first delta, in pieces of at most
    `MAX_PROMPT_PIECE` values, the likeliest tokens counted.
    """

    tokens: tuple[PromptTokenLogprob, ...]


MAX_PROMPT_PIECE: Final = 1024
"""A piece travels in one frame and is kept as one delta: neither holds up other requests."""


class TextDelta(_Event, frozen=True):
    """Text to append: whole characters, never part of a stop string. May be empty.

    `num_tokens` counts the tokens whose text begins in it. `token_ids` and `logprobs` are theirs,
    where the engine can tell them: one for each token, or none. Callers get ids of an engine with
    `Capabilities.token_ids`, others tell them for the next engine to go on. An end token has no
    log-probability; llama.cpp tells one for a character of several tokens, that of the last.
    """

    text: str
    num_tokens: int
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    choice: int = 0


class ReasoningDelta(_Event, frozen=True):
    """Thinking to append, as `TextDelta`."""

    text: str
    num_tokens: int
    token_ids: tuple[int, ...] = ()
    choice: int = 0


class ToolCallDelta(_Event, frozen=True):
    """Part of the tool call `index` of a choice.

    `id` and `name` are set on its first part; `arguments` is JSON text to append. `token_ids` are
    those of the call, where the engine can tell them; no caller gets them.
    """

    index: int
    id: str
    name: str
    arguments: str
    num_tokens: int = 0
    choice: int = 0
    token_ids: tuple[int, ...] = ()


class ChoiceFinished(_Event, frozen=True):
    """The end of one choice. `matched` is the stop string or stop token id, for STOP.

    `is_incomplete`: the text is only a beginning of what its constraint asks for. Engines leave it
    to the front.
    """

    reason: FinishReason
    matched: str | int | None = None
    choice: int = 0
    is_incomplete: bool = False


class Finished(_Event, frozen=True):
    """The end of the generation, with its tokens summed over choices.

    `num_completion_tokens` counts end tokens where there are any, and thinking.
    """

    num_completion_tokens: int
    num_cached_prompt_tokens: int
    num_reasoning_tokens: int = 0


Said = TextDelta | ReasoningDelta | ToolCallDelta
"""A delta that says something of a choice."""
Delta = Said | ChoiceFinished
Told = PromptLogprobs | Delta
"""What callers append to what they have: every part of it counts."""
EngineEvent = Prefill | Started | Told | Finished
