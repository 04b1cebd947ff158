"""Sampling from OpenAI's JSON."""

from __future__ import annotations

from typing import Any

import pytest
from tokenwire.edge.errors import EdgeError
from tokenwire.edge.fields import Fields
from tokenwire.edge.openai.sampling import decode_sampling
from tokenwire.generated.tokenwire.v1.sampling_pb2 import Sampling


def decode(body: dict[str, Any]) -> Sampling:
    return decode_sampling(Fields(body), {})


def test_every_field_arrives() -> None:
    """OpenAI's, and those of other servers that the proto has a field for."""
    decoded = decode(
        {
            "temperature": 0.5,
            "top_p": 1,
            "min_p": 0.25,
            "top_k": 40,
            "repetition_penalty": 1.5,
            "presence_penalty": -1,
            "frequency_penalty": 2,
            "max_tokens": 7.0,
            "min_tokens": 2,
            "n": 3,
            "seed": 9,
            "stop": "end",
            "stop_token_ids": [4, 5],
            "logit_bias": {"12": -100},
            "ignore_eos": True,
        }
    )
    assert decoded == Sampling(
        temperature=0.5,
        top_p=1,
        min_p=0.25,
        top_k=40,
        repetition_penalty=1.5,
        presence_penalty=-1,
        frequency_penalty=2,
        max_tokens=7,
        min_tokens=2,
        n=3,
        seed=9,
        stop=["end"],
        stop_token_ids=[4, 5],
        logit_bias={12: -100},
        ignore_eos=True,
    )


def test_null_is_absent() -> None:
    """Interfaces that send every field ask for nothing by it."""
    names = ("temperature", "max_tokens", "stop", "n", "seed", "logit_bias", "stop_token_ids")
    assert decode(dict.fromkeys(names)) == Sampling()
    assert decode({"stop": "", "logit_bias": {}, "stop_token_ids": []}) == Sampling()


@pytest.mark.parametrize("order", [1, -1])
def test_the_newer_limit_counts(order: int) -> None:
    """`max_completion_tokens` wins over `max_tokens`, and mistakes are told by its name."""
    body = dict([("max_tokens", 5), ("max_completion_tokens", 9)][::order])
    given: dict[str, str] = {}
    assert decode_sampling(Fields(body), given).max_tokens == 9
    assert given["sampling.max_tokens"] == "max_completion_tokens"


@pytest.mark.parametrize(
    ("seed", "folded"),
    [
        (7.0, 7),
        (0, 0),
        (2**32 - 1, 2**32 - 1),
        (2**32 + 7, 7),
        (-1, 2**32 - 1),
        (2**63 - 1, 2**32 - 1),
    ],
)
def test_seeds_of_64_bits_are_folded(seed: float, folded: int) -> None:
    """A seed that OpenAI takes is one here, and the same each time."""
    assert decode({"seed": seed}).seed == folded


def test_top_k_is_off_by_minus_one() -> None:
    """As vLLM and SGLang write it; any other number is the front's to judge."""
    assert decode({"top_k": -1}) == Sampling()
    assert decode({"top_k": -2}).top_k == -2


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"temperature": "0.7"}, "temperature: must be a number, got a string"),
        ({"max_tokens": 1.5}, "max_tokens: must be an integer, got a number"),
        ({"max_completion_tokens": "9"}, "max_completion_tokens: must be an integer, got a st"),
        ({"n": True}, "n: must be an integer, got a boolean"),
        ({"seed": 1.5}, "seed: must be an integer of at most 64 bits, got 1.5"),
        ({"seed": 1e30}, "seed: must be an integer of at most 64 bits, got 1e+30"),
        ({"stop": [1]}, "stop[0]: must be a string, got an integer"),
        ({"stop_token_ids": ["1"]}, "stop_token_ids[0]: must be the id of a token, got a string"),
        ({"stop_token_ids": [-1]}, "stop_token_ids[0]: must be the id of a token, got -1"),
        ({"stop_token_ids": 5}, "stop_token_ids: must be an array of token ids, got an integer"),
        ({"logit_bias": {"x": 1}}, "logit_bias[x]: must be the id of a token"),
        ({"logit_bias": {"1": "x"}}, "logit_bias[1]: must be a number, got a string"),
        ({"logit_bias": []}, "logit_bias: must be an object, got an array"),
        ({"ignore_eos": 1}, "ignore_eos: must be true or false, got an integer"),
    ],
)
def test_a_wrong_type_is_named(body: dict[str, Any], error: str) -> None:
    """With what it must be, and what it is."""
    with pytest.raises(EdgeError) as caught:
        decode(body)
    assert caught.value.message.startswith(error)
