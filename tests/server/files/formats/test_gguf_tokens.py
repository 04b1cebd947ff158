"""The tokens of a GGUF file that are more than text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Comes with SGLang, which reads such files with it.
import gguf
from tokenwire.server.files.formats.gguf_tokens import GgufToken, read_gguf_tokens

TOKENS = ["<unk>", "<|im_end|>", "<think>", "the", "<0x0A>", "<|eot_id|>"]
TYPES = [2, 3, 4, 1, 6, 1]


def write(path: Path, *, types: list[int] | None) -> Path:
    """Writes a file with a vocabulary and no tensors."""
    writer: Any = gguf.GGUFWriter(path, "llama")
    writer.add_token_list(TOKENS)
    if types is not None:
        writer.add_token_types(types)
    writer.add_chat_template("{{ messages }}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_control_tokens_of_small_model(gguf_file: Path) -> None:
    """Those that the file calls control tokens are found with their ids, and the template."""
    found = read_gguf_tokens(gguf_file)
    control = {token.text: token.token_id for token in found.tokens if token.is_control}
    assert len(control) == 17
    assert (control["<|im_start|>"], control["<|im_end|>"]) == (1, 2)
    assert "<|im_start|>" in found.chat_template


def test_kinds_of_tokens(tmp_path: Path) -> None:
    """Ordinary tokens are left out, but for those in brackets, which llama.cpp may correct."""
    found = read_gguf_tokens(write(tmp_path / "model.gguf", types=TYPES))
    assert found.tokens[:3] == (
        GgufToken(0, "<unk>", is_control=True, is_unknown=True),
        GgufToken(1, "<|im_end|>", is_control=True, is_unknown=False),
        GgufToken(2, "<think>", is_control=False, is_unknown=False),
    )
    assert found.tokens[-1] == GgufToken(5, "<|eot_id|>", is_control=False, is_unknown=False)
    assert "the" not in [token.text for token in found.tokens]
    assert found.chat_template == "{{ messages }}"


def test_vocabulary_without_types(tmp_path: Path) -> None:
    """Of a file that does not tell the types, what looks like control tokens is told."""
    found = read_gguf_tokens(write(tmp_path / "model.gguf", types=None))
    assert [token.token_id for token in found.tokens] == [0, 1, 2, 4, 5]
    assert not any(token.is_control for token in found.tokens)
