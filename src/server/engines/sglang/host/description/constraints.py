"""Which constraints SGLang can keep to with a model's tokenizer."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerFast

from .....contract.constraint import ALL_KINDS


def constraint_kinds(tokenizer: Any) -> tuple[str, ...]:  # SGLang has no types
    """Returns the kinds of constraint; none where llguidance cannot read the tokenizer."""
    return ALL_KINDS if isinstance(tokenizer, PreTrainedTokenizerFast) else ()
