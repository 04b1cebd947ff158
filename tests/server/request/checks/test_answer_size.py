"""Whole answers that are too large for one message are refused before they are generated."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenwire.server.contract.engine import SamplingParams
from tokenwire.server.contract.errors import InvalidRequest
from tokenwire.server.contract.prompts import TextPrompt
from tokenwire.server.request.calls import Call, CallContext
from tokenwire.server.request.checks.answer_size import check_answer_size
from tokenwire.server.settings.fixed_limits import MAX_LOGPROBS_OF_ONE_MESSAGE, MAX_PROMPT_LOGPROBS

from ..test_sampling import NOTHING


def call(*, wants_one_message: bool) -> Call:
    return Call(
        context=CallContext("r"),
        model_id="m",
        lora_adapter="",
        prompt=TextPrompt("go"),
        prompt_field="text",
        prompt_without_template=None,
        sampling=NOTHING,
        wants_progress=False,
        wants_token_ids=False,
        cache_salt="",
        time_limit_s=None,
        max_queue_wait_s=None,
        wants_one_message=wants_one_message,
    )


def params(n: int, max_tokens: int, logprobs: int | None) -> SamplingParams:
    return SamplingParams(0.0, 1.0, max_tokens, n=n, logprobs=logprobs)


@pytest.mark.parametrize(
    ("n", "max_tokens", "logprobs"), [(3, 2500, 19), (1, 150_000, 0), (16, 100_000, None)]
)
def test_what_fits(n: int, max_tokens: int, logprobs: int | None) -> None:
    """As many log-probabilities as the limit, and any number of tokens without them."""
    check_answer_size(call(wants_one_message=True), params(n, max_tokens, logprobs), 1_000_000)


@pytest.mark.parametrize(("n", "max_tokens", "logprobs"), [(3, 2501, 19), (1, 150_001, 0)])
def test_what_does_not(n: int, max_tokens: int, logprobs: int) -> None:
    """One more is refused with the numbers, and taken as deltas."""
    check_answer_size(call(wants_one_message=False), params(n, max_tokens, logprobs), 1_000_000)
    with pytest.raises(InvalidRequest) as refused:
        check_answer_size(call(wants_one_message=True), params(n, max_tokens, logprobs), 1_000_000)
    ((field, text),) = refused.value.violations
    assert field == "sampling.logprobs"
    assert str(MAX_LOGPROBS_OF_ONE_MESSAGE) in text
    assert f"{n} x {max_tokens} tokens with {logprobs + 1} each" in text


@pytest.mark.parametrize("wants_one_message", [False, True])
@pytest.mark.parametrize(("num_tokens", "num_top"), [(65_536, 0), (32_768, 1), (3120, 20)])
def test_prompt_that_fits(num_tokens: int, num_top: int, *, wants_one_message: bool) -> None:
    """As many of a prompt as the limit, however they are sent."""
    asked = replace(params(1, 1, None), prompt_logprobs=num_top)
    check_answer_size(call(wants_one_message=wants_one_message), asked, num_tokens)


@pytest.mark.parametrize("wants_one_message", [False, True])
@pytest.mark.parametrize(("num_tokens", "num_top"), [(65_537, 0), (32_769, 1), (3121, 20)])
def test_long_prompt_does_not(num_tokens: int, num_top: int, *, wants_one_message: bool) -> None:
    """One token more is refused with the numbers, however they are sent."""
    asked = replace(params(1, 1, None), prompt_logprobs=num_top)
    with pytest.raises(InvalidRequest) as refused:
        check_answer_size(call(wants_one_message=wants_one_message), asked, num_tokens)
    ((field, text),) = refused.value.violations
    assert field == "sampling.prompt_logprobs"
    assert str(MAX_PROMPT_LOGPROBS) in text
    assert f"{num_tokens} tokens with {num_top + 1} each" in text


def test_prompt_counts_beside_an_answer() -> None:
    """In one message both have their place together."""
    asked = replace(params(1, 50_000, 1), prompt_logprobs=0)
    check_answer_size(call(wants_one_message=True), asked, 50_000)
    with pytest.raises(InvalidRequest, match="50001 of the prompt and 1 x 50000"):
        check_answer_size(call(wants_one_message=True), asked, 50_001)
