"""What `/completion` is told of an answer with calls or thinking in it."""

from __future__ import annotations

from ....constraints.grammar import schema_grammar
from ....contract.tools import AnswerForm
from ...answers.chat_features import special_texts


def answer_fields(form: AnswerForm | None) -> dict[str, object]:
    """Keeps marks that are special tokens in the text, and demands calls where they must be."""
    if form is None:
        return {}
    fields: dict[str, object] = {"preserved_tokens": special_texts(form)}
    if form.forced_schema:
        fields["grammar"] = schema_grammar(form.forced_schema)
    return fields
