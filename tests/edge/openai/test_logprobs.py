"""Log-probabilities in both of OpenAI's forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tokenwire.edge.openai.logprobs import (
    chat_logprobs,
    completion_lists,
    end_lists,
    prompt_lists,
)
from tokenwire.generated.tokenwire.v1.events_pb2 import (
    ChoiceFinished,
    PromptTokenLogprob,
    TokenLogprob,
)

TOKENS = [
    TokenLogprob(
        text=b"Hi",
        logprob=-0.5,
        top=[TokenLogprob.TopLogprob(text=b"Hi", logprob=-0.5)],
    ),
    # The first half of a character that takes two tokens, and one of no probability.
    TokenLogprob(text=b"a\xf0\x9f", logprob=-math.inf),
]


def test_chats_list_tokens_with_their_bytes() -> None:
    """What is no whole character is written as its bytes, and -inf as OpenAI does."""
    assert chat_logprobs(TOKENS) == {
        "content": [
            {
                "token": "Hi",
                "logprob": -0.5,
                "bytes": [72, 105],
                "top_logprobs": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}],
            },
            {
                "token": "a\\xf0\\x9f",
                "logprob": -9999.0,
                "bytes": [97, 0xF0, 0x9F],
                "top_logprobs": [],
            },
        ],
        "refusal": None,
    }


def test_completions_have_four_lists() -> None:
    """Offsets go on where the text before them ended."""
    lists, offset = completion_lists(TOKENS, 10)
    assert lists == {
        "tokens": ["Hi", "bytes:a\\xf0\\x9f"],
        "token_logprobs": [-0.5, -9999.0],
        "top_logprobs": [{"Hi": -0.5}, {"bytes:a\\xf0\\x9f": -9999.0}],
        "text_offset": [10, 12],
    }
    assert offset == 14


def test_a_token_that_is_not_the_likeliest_is_told_beside_it() -> None:
    """As OpenAI does: one more than asked for; programs look it up by its text."""
    likeliest = TokenLogprob.TopLogprob(text=b"Ho", logprob=-0.25)
    lists, _ = completion_lists([TokenLogprob(text=b"Hi", logprob=-2, top=[likeliest])], 0)
    assert lists["top_logprobs"] == [{"Hi": -2.0, "Ho": -0.25}]


def test_prompts_have_the_same_lists() -> None:
    """A token without a value has null; what the tokenizer puts first stands at 0 as the text."""
    tokens = [
        PromptTokenLogprob(text=b"<s>"),
        PromptTokenLogprob(text=b"Hi", logprob=-0.5),
        PromptTokenLogprob(text=b"\xf0\x9f", logprob=-math.inf),
    ]
    assert prompt_lists(tokens, "Hi\ufffd") == {
        "tokens": ["<s>", "Hi", "bytes:\\xf0\\x9f"],
        "token_logprobs": [None, -0.5, -9999.0],
        "top_logprobs": [None, {"Hi": -0.5}, {"bytes:\\xf0\\x9f": -9999.0}],
        "text_offset": [0, 0, 2],
    }
    assert prompt_lists([], "Hi")["tokens"] == []


@pytest.mark.parametrize(
    ("end", "is_token"),
    [
        ({"finish_reason": "FINISH_REASON_EOS"}, True),
        ({"finish_reason": "FINISH_REASON_STOP", "stop_token_id": 0}, True),
        ({"finish_reason": "FINISH_REASON_STOP", "stop": "!"}, False),
        ({"finish_reason": "FINISH_REASON_LENGTH"}, False),
    ],
)
def test_token_that_ends_an_answer(end: dict[str, Any], *, is_token: bool) -> None:
    """It has a place behind a prompt, and no value: what comes last is never the prompt's."""
    lists = end_lists(ChoiceFinished(**end), 7)
    places = [""] if is_token else []
    assert lists["tokens"] == places
    assert lists["text_offset"] == [7] * len(places)
    assert lists["token_logprobs"] == lists["top_logprobs"] == [None] * len(places)
