"""How a grammar says behind which tokens it is followed; tests/models has the rest."""

from __future__ import annotations

import pytest
from tokenwire.server.engines.sglang.grammar_backend import grammar_behind, read_grammar

GRAMMAR = '%llguidance {}\nstart: "a // b"'


@pytest.mark.parametrize("token_ids", [[], [7], [0, 49151, 3]])
def test_what_is_written_is_read(token_ids: list[int]) -> None:
    """Tokens and grammar come back, and a grammar without tokens is as it was."""
    written = grammar_behind(token_ids, GRAMMAR)
    assert read_grammar(written) == (token_ids, GRAMMAR)
    assert (written == GRAMMAR) == (not token_ids)
