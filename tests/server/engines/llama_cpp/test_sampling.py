"""Sampling values as llama.cpp takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tokenwire.server.contract.engine import SamplingParams
from tokenwire.server.contract.prompts import RenderedPrompt
from tokenwire.server.contract.token_ids import TokenIds
from tokenwire.server.engines.llama_cpp.sampling import sampling_fields

PARAMS = SamplingParams(temperature=0.7, top_p=0.9, max_tokens=16, top_k=40, min_p=0.05, seed=7)
PROMPT = RenderedPrompt(TokenIds.of((5, 6, 5)))


def fields(**changes: Any) -> dict[str, Any]:
    return sampling_fields(replace(PARAMS, **changes), PROMPT)


def test_every_value_is_spelt_out() -> None:
    """No value is left to a default of the server or the file."""
    assert fields() == {
        "n_predict": 16,
        "samplers": ("penalties", "temperature", "top_k", "top_p", "min_p"),
        "temperature": 0.7,
        "top_k": 40,
        "top_p": 0.9,
        "min_p": 0.05,
        "mirostat": 0,
        "dynatemp_range": 0.0,
        "repeat_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repeat_last_n": 0,
        "seed": 7,
        "logit_bias": [],
        "ignore_eos": False,
        "n_probs": 0,
        "post_sampling_probs": False,
        "return_tokens": True,
    }


@pytest.mark.parametrize("changes", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_k": 1}])
def test_greedy(changes: dict[str, Any]) -> None:
    """Each way to ask for the likeliest token gives the same values."""
    greedy = fields(**changes)
    assert greedy["samplers"] == ("penalties", "temperature")
    assert (greedy["temperature"], greedy["top_k"], greedy["top_p"]) == (0.0, 0, 1.0)


@pytest.mark.parametrize(
    "changes", [{"presence_penalty": 0.5}, {"frequency_penalty": 0.5}, {"repetition_penalty": 1.1}]
)
def test_penalties_see_whole_sequence(changes: dict[str, Any]) -> None:
    """A penalty looks back over prompt and answer, and no further."""
    assert fields(**changes)["repeat_last_n"] == 3 + 16


def test_prompt_is_given_back() -> None:
    """What llama.cpp takes off for the prompt's tokens is added to them."""
    biases = dict(fields(presence_penalty=1.0, frequency_penalty=0.5)["logit_bias"])
    assert biases == {5: 2.0, 6: 1.5}


def test_logit_bias_adds_up() -> None:
    """The request's own bias is kept beside what is given back."""
    biases = dict(fields(frequency_penalty=0.5, logit_bias={5: -100.0, 8: 3.0})["logit_bias"])
    assert biases == {5: -99.0, 6: 0.5, 8: 3.0}


@pytest.mark.parametrize(
    ("seed", "sent"),
    [(None, 0xFFFFFFFF), (0, 0), (0xFFFFFFFE, 0xFFFFFFFE), (0xFFFFFFFF, 0x9E3779B9)],
)
def test_seed(seed: int | None, sent: int) -> None:
    """Only a missing seed is sent as the number that means "draw one"."""
    assert fields(seed=seed)["seed"] == sent


def test_seed_of_a_choice() -> None:
    """A choice has the seed plus its index; behind the largest comes the smallest."""
    params = replace(PARAMS, seed=0xFFFFFFFD)
    seeds = [sampling_fields(params, PROMPT, choice)["seed"] for choice in range(4)]
    assert seeds == [0xFFFFFFFD, 0xFFFFFFFE, 0x9E3779B9, 0]


@pytest.mark.parametrize(("logprobs", "sent"), [(None, 0), (0, 1), (1, 1), (20, 20)])
def test_logprobs(logprobs: int | None, sent: int) -> None:
    """The token's own value comes with one of the likeliest only."""
    assert fields(logprobs=logprobs)["n_probs"] == sent


def test_goes_on_behind_earlier_output() -> None:
    """The limit is what is left, penalties see the whole answer, and other numbers are drawn."""
    params = SamplingParams(
        temperature=1.0, top_p=1.0, max_tokens=10, seed=7, frequency_penalty=0.5
    )
    prompt = RenderedPrompt(TokenIds.of((1, 2, 2)))
    whole = sampling_fields(params, prompt)
    behind = sampling_fields(params, prompt, num_earlier=4)
    changed = {name for name, value in whole.items() if behind[name] != value}
    assert changed == {"n_predict", "seed"}
    assert behind["n_predict"] == 6
    assert behind == sampling_fields(params, prompt, num_earlier=4)
