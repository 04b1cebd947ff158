"""Sampling as asked for, made into what an engine gets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenwire.server.contract.engine import Capabilities, ModelInfo
from tokenwire.server.contract.errors import InvalidRequest
from tokenwire.server.request.calls import SamplingRequest
from tokenwire.server.request.sampling import SamplingDefaults, resolve_sampling

DEFAULTS = SamplingDefaults(temperature=0.7, top_p=0.9, max_tokens=512, max_tokens_limit=4096)
NOTHING = SamplingRequest(
    temperature=None,
    top_p=None,
    top_k=0,
    min_p=0,
    repetition_penalty=None,
    presence_penalty=0,
    frequency_penalty=0,
    seed=None,
    max_tokens=None,
    min_tokens=0,
    stop=(),
    stop_token_ids=(),
    logit_bias={},
    ignore_eos=False,
    clamp=False,
)
MODEL = ModelInfo(
    engine="test 1",
    device="cpu",
    num_parameters=1,
    format="none",
    quantization="none",
    kv_cache_dtype="none",
    context_length=10_000,
    vocab_size=100,
    max_running=1,
    capabilities=Capabilities(
        chat=True,
        fill_in_the_middle=False,
        seeds=True,
        token_ids=True,
        min_tokens=True,
        stop_token_ids=True,
        logprobs=True,
        prompt_logprobs=True,
    ),
)


def test_absent_values_take_the_defaults() -> None:
    """A request that says nothing gets the server's defaults, and everything else off."""
    params = resolve_sampling(NOTHING, DEFAULTS, MODEL, 10)
    assert (params.temperature, params.top_p, params.max_tokens) == (0.7, 0.9, 512)
    assert (params.top_k, params.min_p, params.repetition_penalty) == (0, 0, 1)
    assert params.seed is not None


def test_clamp_moves_values_to_the_nearest_end() -> None:
    """With clamp every value outside its range moves to the nearest end of it."""
    asked = replace(
        NOTHING,
        clamp=True,
        temperature=9.0,
        top_p=3.0,
        top_k=-4,
        min_p=7,
        presence_penalty=-9,
        frequency_penalty=9,
        max_tokens=10**6,
    )
    params = resolve_sampling(asked, DEFAULTS, MODEL, 10)
    assert (params.temperature, params.top_p, params.top_k, params.min_p) == (2, 1, 0, 1)
    assert (params.presence_penalty, params.frequency_penalty) == (-2, 2)
    assert params.max_tokens == 4096


def test_max_tokens_over_the_limit_is_refused_with_both_numbers() -> None:
    """Without clamp, as many tokens as the server's limit are taken, and one more is refused."""
    resolve_sampling(replace(NOTHING, max_tokens=4096), DEFAULTS, MODEL, 10)
    with pytest.raises(InvalidRequest, match=r"sampling.max_tokens: .*4096, got 4097"):
        resolve_sampling(replace(NOTHING, max_tokens=4097), DEFAULTS, MODEL, 10)


@pytest.mark.parametrize("top_p", [0.0, 1e-45, 1e-38, 9e-7])
def test_top_p_of_nothing_is_greedy(top_p: float) -> None:
    """The smallest nucleus, and one that holds one token alone, is greedy on every engine."""
    params = resolve_sampling(replace(NOTHING, top_p=top_p), DEFAULTS, MODEL, 10)
    assert (params.temperature, params.top_p) == (0, 1)


@pytest.mark.parametrize("temperature", [1e-45, 1e-38, 9e-7])
def test_temperature_of_nothing_is_greedy(temperature: float) -> None:
    """A temperature by which no engine can divide is greedy."""
    params = resolve_sampling(replace(NOTHING, temperature=temperature), DEFAULTS, MODEL, 10)
    assert params.temperature == 0


@pytest.mark.parametrize(("asked", "given"), [(0.0, 0.01), (1e-38, 0.01), (0.01, 0.01), (9.0, 2.0)])
def test_repetition_penalty_is_clamped_to_what_floats_bear(asked: float, given: float) -> None:
    """With clamp no logit is divided by so little that it leaves the range of its type."""
    request = replace(NOTHING, repetition_penalty=asked, clamp=True)
    assert resolve_sampling(request, DEFAULTS, MODEL, 10).repetition_penalty == given


def test_max_tokens_is_cut_to_the_room_in_the_context() -> None:
    """An answer never gets more tokens than the context has left."""
    assert resolve_sampling(NOTHING, DEFAULTS, MODEL, 9_990).max_tokens == 10


@pytest.mark.parametrize(
    ("asked", "capability", "field"),
    [
        (replace(NOTHING, seed=1), "seeds", "sampling.seed"),
        (replace(NOTHING, min_tokens=1), "min_tokens", "sampling.min_tokens"),
        (replace(NOTHING, stop_token_ids=(1,)), "stop_token_ids", "sampling.stop_token_ids"),
        (replace(NOTHING, prompt_logprobs=0), "prompt_logprobs", "sampling.prompt_logprobs"),
    ],
)
def test_what_the_engine_cannot_do_is_refused(
    asked: SamplingRequest, capability: str, field: str
) -> None:
    """A value that the engine would ignore is refused, and the engine named."""
    model = replace(MODEL, capabilities=replace(MODEL.capabilities, **{capability: False}))
    with pytest.raises(InvalidRequest, match=f"{field}: .*test 1"):
        resolve_sampling(asked, DEFAULTS, model, 10)


@pytest.mark.parametrize("greedy", [{"temperature": 0.0}, {"top_p": 0.0}])
def test_seed_of_a_greedy_answer_is_taken(greedy: dict[str, float]) -> None:
    """Nothing is drawn: an engine that honours no seeds does what is asked, and gets none."""
    model = replace(MODEL, capabilities=replace(MODEL.capabilities, seeds=False))
    asked = replace(NOTHING, seed=1234, **greedy)
    assert resolve_sampling(asked, DEFAULTS, model, 10).seed is None
    with pytest.raises(InvalidRequest, match=r"sampling\.seed"):
        resolve_sampling(replace(asked, temperature=0.1, top_p=1.0), DEFAULTS, model, 10)


def test_no_seed_is_drawn_where_it_would_not_count() -> None:
    """An engine that honours no seeds gets none, and none is told."""
    model = replace(MODEL, capabilities=replace(MODEL.capabilities, seeds=False))
    assert resolve_sampling(NOTHING, DEFAULTS, model, 10).seed is None


@pytest.mark.parametrize(
    "asked", [replace(NOTHING, stop_token_ids=(100,)), replace(NOTHING, logit_bias={100: 1.0})]
)
def test_ids_outside_the_vocabulary_are_refused(asked: SamplingRequest) -> None:
    """An id that the model does not have is refused with the vocabulary's size."""
    with pytest.raises(InvalidRequest, match="below 100, got 100"):
        resolve_sampling(asked, DEFAULTS, MODEL, 10)


def test_choices_and_logprobs_go_to_the_engine() -> None:
    """Number of choices and of likeliest tokens pass as they are."""
    asked = replace(NOTHING, n=3, logprobs=0, prompt_logprobs=2)
    params = resolve_sampling(asked, DEFAULTS, MODEL, 10)
    assert (params.n, params.logprobs, params.prompt_logprobs) == (3, 0, 2)


def test_logprobs_need_the_capability() -> None:
    """An engine that cannot tell log-probabilities is not asked for them, not even for none."""
    model = replace(MODEL, capabilities=replace(MODEL.capabilities, logprobs=False))
    with pytest.raises(InvalidRequest) as refused:
        resolve_sampling(replace(NOTHING, logprobs=0), DEFAULTS, model, 10)
    assert refused.value.violations[0][0] == "sampling.logprobs"
