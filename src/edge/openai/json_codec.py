"""OpenAI's JSON to and from messages: pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...generated.tokenwire.v1 import events_pb2
from ..fields import Fields

# OpenAI knows no `eos`: the model's own end is a `stop` like any other.
_FINISH_REASONS = {
    events_pb2.FINISH_REASON_STOP: "stop",
    events_pb2.FINISH_REASON_EOS: "stop",
    events_pb2.FINISH_REASON_LENGTH: "length",
    events_pb2.FINISH_REASON_TIME_LIMIT: "length",
    events_pb2.FINISH_REASON_TOOL_CALLS: "stop",
}


@dataclass(frozen=True, slots=True)
class CompletionHead:
    """What every object of one completion begins with."""

    request_id: str
    created_unix_s: int

    def fields(self) -> dict[str, Any]:
        """Returns the leading fields of an object."""
        return {
            "id": f"cmpl-{self.request_id}",
            "object": "text_completion",
            "created": self.created_unix_s,
        }


def decode_includes_usage(fields: Fields) -> bool:
    """Reads from `stream_options` whether the tokens of a request are told behind its stream.

    Raises:
        EdgeError: of the wrong type.
    """
    options = Fields(fields.optional_object("stream_options"), "stream_options")
    return options.optional_boolean("include_usage") or False


def encode_completion(head: CompletionHead, finished: events_pb2.Finished) -> dict[str, Any]:
    """Returns a whole completion."""
    choice = finished.choices[0]
    return {
        **head.fields(),
        "model": finished.started.model,
        "choices": [completion_choice(choice.text, choice.finished)],
        "usage": completion_usage(finished.usage),
    }


def completion_choice(
    text: str, finished: events_pb2.ChoiceFinished | None = None
) -> dict[str, Any]:
    """Returns the one choice of an object; without `finished` it goes on."""
    return {
        "text": text,
        "index": 0,
        "finish_reason": None if finished is None else _FINISH_REASONS[finished.finish_reason],
        "logprobs": None,
    }


def completion_usage(usage: events_pb2.Usage) -> dict[str, Any]:
    """Returns the tokens of a request."""
    return {
        "prompt_tokens": usage.num_prompt_tokens,
        "completion_tokens": usage.num_completion_tokens,
        "total_tokens": usage.num_prompt_tokens + usage.num_completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.num_cached_prompt_tokens},
    }
