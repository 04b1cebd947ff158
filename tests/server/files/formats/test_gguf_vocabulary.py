"""The vocabulary of a GGUF file."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.server.files.formats.gguf_file import MalformedGguf
from tokenwire.server.files.formats.gguf_vocabulary import GgufVocabulary, read_gguf_vocabulary

from ..weight_files import LLAMA, gguf

TOKENS = ("<s>", "\u0120the", "")


def test_tokens_in_order(tmp_path: Path) -> None:
    """The kind and every token, and no other array of strings."""
    file = tmp_path / "m.gguf"
    keys = {**LLAMA, "tokenizer.ggml.merges": ("a b",), "tokenizer.ggml.tokens": TOKENS}
    file.write_bytes(gguf(keys))
    assert read_gguf_vocabulary(file) == GgufVocabulary("gpt2", TOKENS)


def test_none(tmp_path: Path) -> None:
    """A file without a tokenizer has no tokens."""
    file = tmp_path / "m.gguf"
    file.write_bytes(gguf({"general.architecture": "llama"}))
    assert read_gguf_vocabulary(file) == GgufVocabulary("", ())


def test_truncated(tmp_path: Path) -> None:
    """A file that ends within its tokens is malformed."""
    file = tmp_path / "m.gguf"
    file.write_bytes(gguf({**LLAMA, "tokenizer.ggml.tokens": TOKENS})[:-12])
    with pytest.raises(MalformedGguf):
        read_gguf_vocabulary(file)


def test_of_the_small_model(gguf_file: Path) -> None:
    """A real file has a token for each id of its vocabulary."""
    vocabulary = read_gguf_vocabulary(gguf_file)
    assert vocabulary.kind == "gpt2"
    assert len(vocabulary.tokens) == 49_152
    assert "<|im_end|>" in vocabulary.tokens
