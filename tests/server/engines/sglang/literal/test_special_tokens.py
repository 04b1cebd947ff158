"""The control tokens of a tokenizer of transformers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tokenwire.server.engines.sglang.literal.special_tokens import find_special_texts


def token(text: str, *, special: bool) -> Any:
    return SimpleNamespace(content=text, special=special)


def test_added_tokens() -> None:
    """Special ones, those of thinking, and those that one of the templates names."""
    tokenizer = SimpleNamespace(
        added_tokens_decoder={
            1: token("<bos>", special=True),
            2: token("<think>", special=False),
            3: token("<table>", special=False),
            4: token("<sep>", special=False),
        },
        chat_template={"default": "{{ messages }}<sep>", "tools": ""},
        unk_token_id=1,
    )
    found = find_special_texts(tokenizer)
    assert found.ids == {"<bos>": 1, "<think>": 2, "<sep>": 4}
    assert found.unknown == {1}


def test_tokenizer_without_any() -> None:
    """A tokenizer of another make has no such list, and nothing is looked for."""
    assert not find_special_texts(SimpleNamespace()).occur_in(["<bos>"])
