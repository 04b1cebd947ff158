"""A field is honoured, has no effect, is refused with advice, or is not known."""

from __future__ import annotations

from typing import Any

import pytest
from tokenwire.edge.errors import EdgeError
from tokenwire.edge.fields import Fields
from tokenwire.edge.openai.known_fields import (
    CHAT,
    COMPLETIONS,
    REFUSED,
    WITHOUT_EFFECT,
    check_names,
)

# What llama.cpp's server tells as its settings, apart from what is honoured here.
LLAMA_CPP_DEFAULTS: dict[str, Any] = {
    "dynatemp_range": 0.0,
    "dynatemp_exponent": 1.0,
    "xtc_probability": 0.0,
    "xtc_threshold": 0.1,
    "typ_p": 1.0,
    "typical_p": 1.0,
    "top_n_sigma": -1.0,
    "repeat_last_n": 64,
    "repeat_penalty": 1.0,
    "dry_multiplier": 0.0,
    "dry_base": 1.75,
    "dry_allowed_length": 2,
    "dry_penalty_last_n": -1,
    "dry_sequence_breakers": ["\n", ":", '"', "*"],
    "mirostat": 0,
    "mirostat_tau": 5.0,
    "mirostat_eta": 0.1,
    "adaptive_target": -1.0,
    "adaptive_decay": 0.9,
    "n_predict": -1,
    "n_probs": 0,
    "n_keep": 0,
    "n_discard": 0,
    "n_indent": 0,
    "min_keep": 0,
    "id_slot": -1,
    "t_max_predict_ms": -1,
    "cache_prompt": True,
    "return_tokens": False,
    "post_sampling_probs": False,
    "timings_per_token": False,
    "reasoning_format": "auto",
    "reasoning_in_content": False,
    "thinking_forced_open": False,
    "parse_tool_calls": True,
    "samplers": [
        *("penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc"),
        "temperature",
    ],
    "speculative.n_max": 16,
    "speculative.n_min": 0,
    "speculative.p_min": 0.75,
    "backend_sampling": False,
    "lora": [],
}


def test_no_field_is_two_things() -> None:
    """What one route honours is refused on the other alone."""
    assert not WITHOUT_EFFECT & (CHAT | COMPLETIONS | set(REFUSED))
    assert not CHAT & COMPLETIONS & set(REFUSED)
    assert set(REFUSED) >= (CHAT ^ COMPLETIONS)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"temprature": 1}, "temprature: is no field of this route"),
        ({"x" * 300: 1}, "x" * 200 + ": is no field of this route"),
        ({"store": True}, "store: is not supported here, got true; nothing is stored here"),
        ({"functions": [{}]}, "functions: is not supported here, got an array; send tools"),
        ({"prompt": "x"}, "prompt: is not supported here, got a string; it belongs to /v1/compl"),
        ({"modalities": ["text", "audio"]}, "modalities: is not supported here, got an array"),
        ({"verbosity": "low"}, "verbosity: is not supported here"),
        (
            {"function_call": {"name": "f"}},
            "function_call: is not supported here, got an object; s",
        ),
        ({"audio": {"voice": "x"}}, "audio: is not supported here, got an object; answers are te"),
        ({"web_search_options": {}}, "web_search_options: is not supported here, got an object; g"),
        ({"enable_thinking": False}, "enable_thinking: is not supported here, got false; send re"),
        ({"think": False}, "think: is not supported here, got false; send reasoning_effort"),
        ({"separate_reasoning": False}, "separate_reasoning: is not supported here, got false"),
        ({"stream_reasoning": False}, "stream_reasoning: is not supported here, got false"),
        ({"skip_special_tokens": False}, "skip_special_tokens: is not supported here, got false"),
        ({"parse_tool_calls": False}, "parse_tool_calls: is not supported here, got false"),
        ({"options": {"num_ctx": 1}}, "options: is not supported here, got an object; it is Oll"),
        ({"length_penalty": True}, "length_penalty: is not supported here, got true"),
        ({"mirostat": 2}, "mirostat: is not supported here, got 2"),
        ({"n_probs": 3}, "n_probs: is not supported here, got 3; send logprobs"),
        ({"repeat_last_n": 32}, "repeat_last_n: is not supported here, got 32"),
        ({"typ_p": 0.5}, "typ_p: is not supported here, got 0.5"),
        ({"top_n_sigma": 1.0}, "top_n_sigma: is not supported here, got 1.0"),
        ({"samplers": ["temperature"]}, "samplers: is not supported here, got an array"),
    ],
)
def test_what_cannot_be_honoured_is_told(body: dict[str, Any], error: str) -> None:
    """By name, with what to do instead; a mistyped name is one that nobody knows."""
    with pytest.raises(EdgeError) as caught:
        check_names(Fields(body), CHAT)
    assert caught.value.message.startswith(error)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "messages": [], "temperature": 0},
        {"user": "u", "metadata": {"a": "b"}, "service_tier": "flex", "prompt_cache_key": "k"},
        {"prediction": {"type": "content", "content": "x"}},
        {"safety_identifier": "s", "prompt_cache_retention": "24h", "verbosity": "medium"},
        {"reasoning_effort": "low", "parallel_tool_calls": False},
        {"store": False, "functions": [], "function_call": "none", "modalities": ["text"]},
        {"unknown": None, "store": None},
        {"best_of": 1, "suffix": "", "echo": False, "length_penalty": 1.0},
    ],
)
def test_what_asks_for_nothing_passes(body: dict[str, Any]) -> None:
    """Labels, hints, null, and values that are the default anyway."""
    check_names(Fields(body), CHAT)


@pytest.mark.parametrize("route", [CHAT, COMPLETIONS])
def test_llama_cpps_own_defaults_ask_for_nothing(route: frozenset[str]) -> None:
    """Its clients send the whole set of samplers, most of them turned off."""
    check_names(Fields(LLAMA_CPP_DEFAULTS), route)


@pytest.mark.parametrize(
    "body",
    [{"tools": [], "tool_choice": "none", "parallel_tool_calls": True, "reasoning_effort": "none"}],
)
def test_interfaces_may_send_every_field(body: dict[str, Any]) -> None:
    """What belongs to a chat and asks for nothing hurts no completion."""
    check_names(Fields(body), COMPLETIONS)
    with pytest.raises(EdgeError, match=r"top_logprobs: .* belongs to /v1/chat/completions"):
        check_names(Fields({"top_logprobs": 2}), COMPLETIONS)
