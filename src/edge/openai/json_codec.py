"""What all of OpenAI's JSON has in common, and its models: pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...generated.tokenwire.v1 import events_pb2, inference_pb2, models_pb2, sampling_pb2
from ..errors import invalid
from ..fields import Fields

COMPLETION = "text_completion"
# OpenAI knows no `eos`: the model's own end is a `stop` like any other.
_FINISH_REASONS = {
    events_pb2.FINISH_REASON_STOP: "stop",
    events_pb2.FINISH_REASON_EOS: "stop",
    events_pb2.FINISH_REASON_LENGTH: "length",
    events_pb2.FINISH_REASON_TIME_LIMIT: "length",
    events_pb2.FINISH_REASON_TOOL_CALLS: "tool_calls",
}
# Beside the first, options without effect: padding against who measures encrypted chunks, and usage
# on every chunk, which programs that measure speed send to all servers; it comes last here.
_STREAM_OPTIONS = ("include_usage", "include_obfuscation", "continuous_usage_stats")


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """What every object of one answer begins with."""

    id: str
    created_unix_s: int

    @classmethod
    def of_chat(cls, request_id: str, created_unix_s: int) -> AnswerHead:
        """Returns the head of a chat."""
        return cls(f"chatcmpl-{request_id}", created_unix_s)

    @classmethod
    def of_completion(cls, request_id: str, created_unix_s: int) -> AnswerHead:
        """Returns the head of a completion."""
        return cls(f"cmpl-{request_id}", created_unix_s)

    def fields(self, kind: str, started: events_pb2.Started) -> dict[str, Any]:
        """Returns the leading fields of an object of a kind, such as `chat.completion`."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created_unix_s,
            "model": started.model,
            "system_fingerprint": _fingerprint(started),
        }


def decode_shared(
    fields: Fields, request: inference_pb2.GenerateRequest | inference_pb2.ChatRequest
) -> None:
    """Reads what chats and completions both have beside sampling.

    Raises:
        EdgeError: of the wrong type.
    """
    request.cache_salt = fields.optional_string("cache_salt") or ""
    request.lora_adapter = fields.optional_string("lora_path") or ""
    request.priority = fields.optional_integer("priority") or 0


def decode_includes_usage(fields: Fields) -> bool:
    """Reads from `stream_options` whether the tokens of a request are told behind its stream.

    Raises:
        EdgeError: of the wrong type.
    """
    return fields.inner("stream_options").optional_boolean("include_usage") or False


def decode_stream_options(fields: Fields, *, is_stream: bool) -> bool:
    """Reads `stream_options` strictly; returns what `decode_includes_usage` does.

    Raises:
        EdgeError: of the wrong type, for an answer that is no stream, or with an option that nobody
            knows.
    """
    options = fields.inner("stream_options")
    for name in options.names():
        if name not in _STREAM_OPTIONS and options.get(name) is not None:
            raise invalid(options.path_of(name), "is no option of this route")
    includes_usage = decode_includes_usage(fields)
    if includes_usage and not is_stream:
        raise invalid("stream_options", "is only for stream true; a whole answer always has usage")
    return includes_usage


def num_choices_of(sampling: sampling_pb2.Sampling) -> int:
    """Returns how many answers are asked for."""
    return sampling.n if sampling.HasField("n") else 1


def encode_completion(head: AnswerHead, finished: events_pb2.Finished) -> dict[str, Any]:
    """Returns a whole completion of one prompt and one choice."""
    choice = finished.choices[0]
    return {
        **head.fields(COMPLETION, finished.started),
        "choices": [completion_choice(choice.text, choice.finished)],
        "usage": completion_usage(finished.usage),
    }


def completion_choice(
    text: str, finished: events_pb2.ChoiceFinished | None = None, *, index: int = 0
) -> dict[str, Any]:
    """Returns a choice of an object; without `finished` it goes on."""
    return {
        "text": text,
        "index": index,
        "finish_reason": None if finished is None else finish_reason(finished),
        "logprobs": None,
    }


def finish_reason(finished: events_pb2.ChoiceFinished) -> str:
    """Says why an answer ended, in OpenAI's words."""
    return _FINISH_REASONS[finished.finish_reason]


def completion_usage(usage: events_pb2.Usage) -> dict[str, Any]:
    """Returns the tokens of a request."""
    return {
        "prompt_tokens": usage.num_prompt_tokens,
        "completion_tokens": usage.num_completion_tokens,
        "total_tokens": usage.num_prompt_tokens + usage.num_completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.num_cached_prompt_tokens},
    }


def sum_usage(usages: list[events_pb2.Usage]) -> events_pb2.Usage:
    """Adds up the tokens of several calls."""
    return events_pb2.Usage(
        num_prompt_tokens=sum(usage.num_prompt_tokens for usage in usages),
        num_cached_prompt_tokens=sum(usage.num_cached_prompt_tokens for usage in usages),
        num_completion_tokens=sum(usage.num_completion_tokens for usage in usages),
        num_reasoning_tokens=sum(usage.num_reasoning_tokens for usage in usages),
    )


def encode_model(model: models_pb2.Model, created_unix_s: int) -> dict[str, Any]:
    """Returns one model of `/v1/models`; the last three fields are those that vLLM adds."""
    return {
        "id": model.id,
        "object": "model",
        "created": created_unix_s,
        "owned_by": "tokenwire",
        "root": model.id,
        "parent": model.base_model or None,
        "max_model_len": model.context_length or None,
    }


def _fingerprint(started: events_pb2.Started) -> str | None:
    """Names the files that answered: their revision, where that is known, as one word."""
    return "_".join(["fp", *started.model_revision.split()]) if started.model_revision else None
