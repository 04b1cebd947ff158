"""OpenAI's JSON, to and from messages."""

from __future__ import annotations

import pytest
from tokenwire.edge.errors import EdgeError
from tokenwire.edge.fields import Fields
from tokenwire.edge.openai.json_codec import (
    completion_choice,
    completion_usage,
    decode_includes_usage,
)
from tokenwire.generated.tokenwire.v1 import events_pb2

USAGE = events_pb2.Usage(num_prompt_tokens=3, num_completion_tokens=2, num_cached_prompt_tokens=1)


@pytest.mark.parametrize(
    ("reason", "openai"),
    [
        (events_pb2.FINISH_REASON_STOP, "stop"),
        (events_pb2.FINISH_REASON_EOS, "stop"),
        (events_pb2.FINISH_REASON_LENGTH, "length"),
        (None, None),
    ],
)
def test_reasons_are_told_in_openais_words(
    reason: events_pb2.FinishReason.ValueType | None, openai: str | None
) -> None:
    """OpenAI knows no `eos`; a choice that goes on has no reason."""
    finished = None if reason is None else events_pb2.ChoiceFinished(finish_reason=reason)
    assert completion_choice("a", finished) == {
        "text": "a",
        "index": 0,
        "finish_reason": openai,
        "logprobs": None,
    }


def test_usage_adds_up() -> None:
    """The total is prompt and answer; cached tokens are part of the prompt."""
    assert completion_usage(USAGE) == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1},
    }


def test_usage_is_told_on_request() -> None:
    """Absent, null and false are no; what is no boolean is refused by its own path."""
    options: tuple[object, ...] = (None, {}, {"include_usage": None}, {"include_usage": False})
    for value in options:
        assert not decode_includes_usage(Fields({"stream_options": value}))
    assert decode_includes_usage(Fields({"stream_options": {"include_usage": True}}))
    with pytest.raises(EdgeError, match=r"^stream_options.include_usage: must be true or false"):
        decode_includes_usage(Fields({"stream_options": {"include_usage": 1}}))
