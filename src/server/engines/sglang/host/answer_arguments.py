"""What SGLang is told of an answer with calls or thinking in it."""

from __future__ import annotations

from typing import Any

from ....constraints.grammar import schema_grammar
from ....contract.tools import AnswerForm
from ...answers.chat_features import special_texts


def answer_arguments(form: AnswerForm | None, constraint: str = "") -> dict[str, Any]:
    """Keeps marks that are special tokens in the text, and forces the answer where it must be."""
    arguments: dict[str, Any] = {}
    if special_texts(form):
        arguments["skip_special_tokens"] = False
    if form is not None and form.forced_schema:
        constraint = schema_grammar(form.forced_schema)
    if constraint:
        # Under this name SGLang takes a grammar of llguidance as it is.
        arguments["ebnf"] = constraint
    return arguments
