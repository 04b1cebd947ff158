"""What only a renderer can tell of a prompt."""

from __future__ import annotations

import pytest
from tokenwire.server.contract.errors import InvalidRequest
from tokenwire.server.contract.token_ids import TokenIds
from tokenwire.server.engines.fim import FimTokens
from tokenwire.server.engines.prompt_checks import (
    check_not_empty,
    check_vocabulary,
    need_fim_tokens,
)


def test_no_tokens() -> None:
    """A prompt of no tokens is refused, naming the field; one token is enough."""
    check_not_empty("messages", TokenIds.of([0]))
    with pytest.raises(InvalidRequest) as caught:
        check_not_empty("messages", TokenIds())
    assert caught.value.violations == (("messages", "has no tokens"),)


def test_foreign_id() -> None:
    """The first id outside the vocabulary is named, with its place and the vocabulary's size."""
    check_vocabulary("token_ids", TokenIds(), 10)
    check_vocabulary("token_ids", TokenIds.of([0, 9]), 10)
    with pytest.raises(InvalidRequest) as caught:
        check_vocabulary("token_ids", TokenIds.of([0, 9, 10, 11]), 10)
    assert caught.value.violations == (
        ("token_ids", "token id 10 at position 2 is not in the vocabulary of 10 tokens"),
    )


def test_no_fim_tokens() -> None:
    """A suffix is refused where the model has no markers for it, naming the field."""
    tokens = FimTokens(1, 2, 3)
    assert need_fim_tokens(tokens) is tokens
    with pytest.raises(InvalidRequest) as caught:
        need_fim_tokens(None)
    assert caught.value.violations == (("suffix", "the model has no fill-in-the-middle tokens"),)
