"""How much text one token can stand for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tokenwire.server.engines.sglang.host.description.token_bytes import max_token_bytes

SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}


class Normalizer:
    """Tells its state as those of the package tokenizers do."""

    def __init__(self, state: object) -> None:
        self._state = state

    def __getstate__(self) -> bytes:
        return json.dumps(self._state).encode()


class Tokenizer:
    """What is read of a tokenizer."""

    def __init__(self, normalizer: object) -> None:
        self.backend_tokenizer: Any = self
        self.normalizer = None if normalizer is None else Normalizer(normalizer)

    def get_vocab(self) -> dict[str, int]:
        return {"a": 0, "\u2581word": 1, "bc": 2}


@pytest.mark.parametrize(
    ("normalizer", "num_bytes"),
    [
        (None, 7),
        (SPACES, 7),
        (
            {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, SPACES]},
            7,
        ),
        ({"type": "NFC"}, 21),
        ({"type": "Strip", "strip_left": True, "strip_right": True}, 0),
        ({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}, 0),
        ({"type": "Replace", "pattern": {"String": "  "}, "content": " "}, 0),
        ({"type": "Sequence", "normalizers": [SPACES, {"type": "Lowercase"}]}, 0),
    ],
)
def test_bound_of_a_token(normalizer: object, num_bytes: int) -> None:
    """The longest token, unless the normalizer can drop any amount of text."""
    assert max_token_bytes(Tokenizer(normalizer)) == num_bytes


def test_tokenizer_of_another_kind() -> None:
    """A tokenizer in Python has no normalizer to ask."""
    assert max_token_bytes(object()) == 0
