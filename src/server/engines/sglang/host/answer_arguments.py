"""What SGLang is told of an answer with calls or thinking in it."""

from __future__ import annotations

from typing import Any

from ....contract.tools import AnswerForm
from ...answers.chat_features import special_texts


def answer_arguments(form: AnswerForm | None) -> dict[str, Any]:
    """Keeps marks that are special tokens in the text, and demands calls where they must be."""
    arguments: dict[str, Any] = {}
    if special_texts(form):
        arguments["skip_special_tokens"] = False
    if form is not None and form.forced_schema:
        arguments["json_schema"] = form.forced_schema
    return arguments
