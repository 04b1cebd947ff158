"""What llama.cpp is told of answers that are more than text."""

from __future__ import annotations

from tokenwire.server.constraints.grammar import write_grammar
from tokenwire.server.contract.constraint import Constraint, ConstraintKind
from tokenwire.server.contract.tools import AnswerForm, Tool
from tokenwire.server.engines.llama_cpp.output.answer_fields import answer_fields


def test_plain_answers_need_nothing() -> None:
    """Without a form the request is as it was."""
    assert answer_fields(None) == {}


def test_marks_are_kept() -> None:
    """Marks of the parsers stay in the text where they are special tokens."""
    fields = answer_fields(AnswerForm((Tool("f"),), "mistral", "think"))
    assert fields == {
        "preserved_tokens": ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<think>", "</think>")
    }


def test_demanded_calls_have_a_schema() -> None:
    """The schema goes along as a grammar, which says that space has an end."""
    schema = '{"type": "array", "minItems": 1}'
    fields = answer_fields(AnswerForm((Tool("f"),), "json", forced_schema=schema))
    grammar = str(fields["grammar"])
    assert grammar == write_grammar(Constraint(ConstraintKind.JSON_SCHEMA, (schema,)))
    assert '"whitespace_flexible":false' in grammar
