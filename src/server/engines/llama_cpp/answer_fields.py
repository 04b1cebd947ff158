"""What `/completion` is told of an answer with calls or thinking in it."""

from __future__ import annotations

import json

from ...contract.tools import AnswerForm
from ..answers.chat_features import special_texts


def answer_fields(form: AnswerForm | None) -> dict[str, object]:
    """Keeps marks that are special tokens in the text, and demands calls where they must be."""
    if form is None:
        return {}
    fields: dict[str, object] = {"preserved_tokens": special_texts(form)}
    if form.forced_schema:
        # Without this, space between two tokens may go on for ever, and small models let it.
        spacing = {"x-guidance": {"whitespace_flexible": False}}
        fields["json_schema"] = json.loads(form.forced_schema) | spacing
    return fields
