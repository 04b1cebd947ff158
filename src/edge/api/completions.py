"""What OpenAI-style clients find in answers of `/api/completions`, beside the dialect's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...generated.tokenwire.v1 import events_pb2
from .json_codec import encode_text

# OpenAI knows no `eos`: the model's own end is a `stop` like any other.
_FINISH_REASONS = {"stop": "stop", "eos": "stop", "length": "length"}


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


def completion_choice(text: str, finish_reason: str | None) -> dict[str, Any]:
    """Returns the one choice of an object; `finish_reason` in the words of `/api`."""
    return {
        "text": text,
        "index": 0,
        "finish_reason": None if finish_reason is None else _FINISH_REASONS[finish_reason],
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


def encode_completion(head: CompletionHead, finished: events_pb2.Finished) -> dict[str, Any]:
    """Returns the body of `/api/completions`."""
    own = encode_text(finished)
    return {
        **own,
        **head.fields(),
        "choices": [completion_choice(own["text"], own["finish_reason"])],
        "usage": completion_usage(finished.usage),
    }
