"""What llama.cpp prints of grammars stays out of the log."""

from __future__ import annotations

from tokenwire.server.engines.llama_cpp.child.grammar_words import GrammarWords

PRINTED = """\
0.06.953.704 E srv  load_model: words
0.06.953.704 E llg error: at 2(8): unknown name: "SECRET"
   1 | %llguidance {}
   2 | start: SECRET

Tokens: SECRET
0.15.712.159 E failed to parse grammar
printed by itself
parse: error parsing grammar: Undefined rule identifier 'SECRET'
root ::= SECRET
0.15.712.159 I srv  other: words"""


def test_words_of_a_grammar_are_hidden() -> None:
    """Of an error about a grammar its kind is left, and nothing of the lines below."""
    words = GrammarWords()
    left = [words.hide(line) for line in PRINTED.splitlines()]
    assert [line for line in left if line is not None] == [
        "0.06.953.704 E srv  load_model: words",
        "0.06.953.704 E llg error",
        "0.15.712.159 E failed to parse grammar",
        "printed by itself",
        "parse: error parsing grammar",
        "0.15.712.159 I srv  other: words",
    ]
