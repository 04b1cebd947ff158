"""Sampling values as SGLang spells them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenwire.server.contract.engine import SamplingParams
from tokenwire.server.engines.sglang.host.sampling import (
    BAN,
    Vocabulary,
    logprob_arguments,
    name_refused,
    sampling_arguments,
)

VOCABULARY = Vocabulary(100, frozenset({2, 3}))


PLAIN = SamplingParams(temperature=0.5, top_p=0.9, max_tokens=7)


def test_every_sampling_value_is_explicit() -> None:
    """No value is left to SGLang's or the model's own defaults."""
    assert sampling_arguments(PLAIN, VOCABULARY) == {
        "max_new_tokens": 7,
        "min_new_tokens": 0,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stop_token_ids": None,
        "ignore_eos": False,
        "logit_bias": None,
        "skip_special_tokens": True,
        "n": 1,
    }


def test_top_p_zero_is_greedy() -> None:
    """SGLang refuses top_p 0, which means greedy."""
    arguments = sampling_arguments(replace(PLAIN, top_p=0.0), VOCABULARY)
    assert (arguments["top_p"], arguments["top_k"]) == (1.0, 1)


def test_foreign_stop_tokens_are_dropped() -> None:
    """Stop tokens that the model cannot generate never reach the scheduler: it would crash."""
    params = replace(PLAIN, stop_token_ids=(-1, 5, 100, 2**31))
    assert sampling_arguments(params, VOCABULARY)["stop_token_ids"] == [5]


def test_a_bias_outside_the_vocabulary_is_left_out() -> None:
    """Nothing has such an id, and its index would crash the scheduler."""
    params = replace(PLAIN, logit_bias={5: 1.0, VOCABULARY.size: 2.0})
    assert sampling_arguments(params, VOCABULARY)["logit_bias"] == {"5": 1.0}


def test_every_end_is_held_back() -> None:
    """With a least number of tokens SGLang knows every end token, whatever its version."""
    arguments = sampling_arguments(replace(PLAIN, min_tokens=4, stop_token_ids=(5,)), VOCABULARY)
    assert arguments["stop_token_ids"] == [5, 2, 3]
    ignoring = sampling_arguments(replace(PLAIN, min_tokens=4, ignore_eos=True), VOCABULARY)
    assert ignoring["stop_token_ids"] is None


def test_end_is_banned_where_only_stop_tokens_stop() -> None:
    """SGLang ignores stop tokens together with the end, so the end is kept from coming."""
    params = replace(PLAIN, stop_token_ids=(3, 5), ignore_eos=True, logit_bias={7: 1.0})
    arguments = sampling_arguments(params, VOCABULARY)
    assert arguments["ignore_eos"] is False
    assert arguments["logit_bias"] == {"7": 1.0, "2": BAN}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("repetition_penalty must be in [0, 2], got 5.0.", "repetition_penalty"),
        ("min_new_tokens must be in [0, max_new_tokens(7)], got 9.", "min_tokens"),
        ("The input (9 tokens) is longer than the model's context length (8 tokens).", "length"),
        ("LoRA is not enabled.", "LoRA adapter"),
        ("Duplicate request ID detected: /secret", ""),
    ],
)
def test_what_is_refused_is_named(text: str, name: str) -> None:
    """Of SGLang's words callers get the name of what is at fault, as they know it."""
    assert name_refused(text) == name


def test_seed_of_a_choice() -> None:
    """A choice has the seed plus its index, and none where the engine honours none."""
    params = replace(PLAIN, seed=2**32 - 2)
    seeds = [sampling_arguments(params, VOCABULARY, choice)["sampling_seed"] for choice in range(3)]
    assert seeds == [2**32 - 2, 2**32 - 1, 0]
    assert "sampling_seed" not in sampling_arguments(PLAIN, VOCABULARY)


@pytest.mark.parametrize("num_top", [0, 20])
def test_logprobs_of_the_answer_alone(num_top: int) -> None:
    """Asking for log-probabilities costs the prompt no cache; not asking says nothing of them."""
    assert logprob_arguments(PLAIN, with_prompt=True) == {}
    assert logprob_arguments(replace(PLAIN, logprobs=num_top), with_prompt=True) == {
        "return_logprob": True,
        "top_logprobs_num": num_top,
        "logprob_start_len": -1,
    }


@pytest.mark.parametrize(
    ("of_answer", "of_prompt", "num_top"), [(None, 0, 0), (None, 3, 3), (1, 5, 5), (5, 1, 5)]
)
def test_logprobs_of_the_prompt(of_answer: int | None, of_prompt: int, num_top: int) -> None:
    """The larger number of likeliest tokens holds for both; of the choices one asks for them."""
    params = replace(PLAIN, logprobs=of_answer, prompt_logprobs=of_prompt)
    assert logprob_arguments(params, with_prompt=True) == {
        "return_logprob": True,
        "top_logprobs_num": num_top,
        "logprob_start_len": 0,
    }
    other = replace(PLAIN, logprobs=of_answer)
    assert logprob_arguments(params, with_prompt=False) == logprob_arguments(
        other, with_prompt=False
    )


def test_goes_on_behind_earlier_output() -> None:
    """Limits are what is left of them, and penalties are told how much of the input is output."""
    params = SamplingParams(temperature=1.0, top_p=1.0, max_tokens=10, min_tokens=3, seed=7)
    whole = sampling_arguments(params, VOCABULARY)
    behind = sampling_arguments(params, VOCABULARY, num_earlier=4)
    assert "custom_params" not in whole
    assert behind.pop("custom_params") == {"tokenwire_num_earlier": 4}
    changed = {name for name, value in whole.items() if behind[name] != value}
    assert changed == {"max_new_tokens", "min_new_tokens"}
    assert (behind["max_new_tokens"], behind["min_new_tokens"]) == (6, 0)
