"""The names that callers may not give to a chat template."""

from __future__ import annotations

import inspect

import pytest
from tokenwire.server.contract.template_arguments import RESERVED_TEMPLATE_ARGUMENTS


def test_names_of_transformers_are_covered() -> None:
    """Nothing that transformers itself gives to a template, or takes beside it, is a caller's."""
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    base = pytest.importorskip("transformers.tokenization_utils_base").PreTrainedTokenizerBase
    names = {
        *inspect.signature(base.apply_chat_template).parameters,
        *inspect.signature(utils.render_jinja_template).parameters,
        *base.SPECIAL_TOKENS_ATTRIBUTES,
        *utils._compile_jinja_template("x").environment.globals,
    }
    assert names - {"kwargs"} <= RESERVED_TEMPLATE_ARGUMENTS


@pytest.mark.parametrize(
    "name",
    [
        *("messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token"),
        *("raise_exception", "self", "conversation", "chat_template", "tokenize"),
    ],
)
def test_names_of_the_engines_are_covered(name: str) -> None:
    """What an engine sets, also where transformers is not installed to be looked at."""
    assert name in RESERVED_TEMPLATE_ARGUMENTS


@pytest.mark.parametrize("name", ["enable_thinking", "reasoning_effort", "date_string"])
def test_names_of_models_are_free(name: str) -> None:
    """What a model's own template reads by name is the caller's to set."""
    assert name not in RESERVED_TEMPLATE_ARGUMENTS
