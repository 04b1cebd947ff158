"""Which constraints SGLang can keep to with a model's tokenizer."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .....contract.constraint import ALL_KINDS

# Untyped, as all of SGLang is: the type checkers run where it is not installed.
_FastTokenizer: Any = import_module("transformers").PreTrainedTokenizerFast


def constraint_kinds(tokenizer: Any) -> tuple[str, ...]:  # SGLang has no types
    """Returns the kinds of constraint; none where llguidance cannot read the tokenizer."""
    return ALL_KINDS if isinstance(tokenizer, _FastTokenizer) else ()
