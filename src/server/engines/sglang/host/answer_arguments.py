"""What SGLang is told of an answer with calls or thinking in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....constraints.grammar import schema_grammar
from ....contract.tools import AnswerForm
from ...answers.chat_features import special_texts
from ..grammar_backend import grammar_behind


def answer_arguments(
    form: AnswerForm | None, constraint: str = "", earlier_ids: Sequence[int] = ()
) -> dict[str, Any]:
    """Keeps marks that are special tokens in the text, and forces the answer where it must be.

    `earlier_ids` are the first tokens of the answer, which stand in the prompt already.
    """
    arguments: dict[str, Any] = {}
    if special_texts(form):
        arguments["skip_special_tokens"] = False
    if form is not None and form.forced_schema:
        constraint = schema_grammar(form.forced_schema)
    if constraint:
        # Under this name SGLang takes a grammar of llguidance as it is.
        arguments["ebnf"] = grammar_behind(earlier_ids, constraint)
    return arguments
