"""What SGLang is told of answers that are more than text."""

from __future__ import annotations

from tokenwire.server.constraints.grammar import schema_grammar
from tokenwire.server.contract.tools import AnswerForm, Tool
from tokenwire.server.engines.sglang.host.answer_arguments import answer_arguments


def test_plain_answers_need_nothing() -> None:
    """Without a form the request is as it was."""
    assert answer_arguments(None) == {}


def test_marks_are_kept() -> None:
    """Marks of the parsers stay in the text where they are special tokens."""
    form = AnswerForm((Tool("f"),), "mistral")
    assert answer_arguments(form) == {"skip_special_tokens": False}


def test_demanded_calls_have_a_schema() -> None:
    """The schema goes along as a grammar; its answer has no marks to keep."""
    form = AnswerForm((Tool("f"),), "json", forced_schema='{"type": "array"}')
    assert answer_arguments(form) == {"ebnf": schema_grammar('{"type": "array"}')}


def test_a_constraint_goes_along() -> None:
    """The grammar of a request is its own."""
    assert answer_arguments(None, "%llguidance {}") == {"ebnf": "%llguidance {}"}
