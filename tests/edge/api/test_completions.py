"""What OpenAI's clients find in an answer."""

from __future__ import annotations

import pytest
from tokenwire.edge.api.completions import (
    CompletionHead,
    completion_choice,
    completion_usage,
    encode_completion,
)
from tokenwire.generated.tokenwire.v1 import events_pb2

USAGE = events_pb2.Usage(num_prompt_tokens=3, num_completion_tokens=2, num_cached_prompt_tokens=1)


@pytest.mark.parametrize(
    ("own", "openai"), [("stop", "stop"), ("eos", "stop"), ("length", "length"), (None, None)]
)
def test_reasons_are_told_in_openais_words(own: str | None, openai: str | None) -> None:
    """OpenAI knows no `eos`; a choice that goes on has no reason."""
    assert completion_choice("a", own) == {
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


def test_an_answer_holds_both_dialects() -> None:
    """The four fields of `/api` stand beside those of OpenAI, and say the same."""
    end = events_pb2.ChoiceFinished(finish_reason=events_pb2.FINISH_REASON_EOS)
    finished = events_pb2.Finished(
        usage=USAGE,
        started=events_pb2.Started(model="m"),
        choices=[events_pb2.Choice(text="a", finished=end)],
    )
    assert encode_completion(CompletionHead("r1", 1767225600), finished) == {
        "text": "a",
        "model": "m",
        "tokens_generated": 2,
        "finish_reason": "eos",
        "id": "cmpl-r1",
        "object": "text_completion",
        "created": 1767225600,
        "choices": [completion_choice("a", "eos")],
        "usage": completion_usage(USAGE),
    }
