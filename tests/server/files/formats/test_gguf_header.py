"""The header of a GGUF file."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.server.files.formats.gguf_file import MalformedGguf
from tokenwire.server.files.formats.gguf_header import GgufHeader, read_gguf_header

from ..weight_files import Value, gguf


def write(folder: Path, **keys: Value) -> Path:
    """Writes a file that is all header; dots are underscores doubled."""
    path = folder / "model.gguf"
    path.write_bytes(gguf({key.replace("__", "."): value for key, value in keys.items()}))
    return path


def test_small_model(gguf_file: Path) -> None:
    """The small model's header is read."""
    assert read_gguf_header(gguf_file) == GgufHeader(
        architecture="llama",
        quantization="Q4_1",
        trained_context_length=8_192,
        kv_bytes_per_token=30 * 3 * (64 + 64) * 2,
        begin_token_id=1,
        has_chat_template=True,
        max_token_bytes=162,
    )


def test_heads_of_each_layer(tmp_path: Path) -> None:
    """Where layers differ, each layer's own heads are counted."""
    path = write(
        tmp_path,
        general__architecture="mixed",
        mixed__block_count=3,
        mixed__attention__head_count=[8, 8, 8],
        mixed__attention__head_count_kv=[2, 0, 4],
        mixed__attention__key_length=64,
        mixed__attention__value_length=32,
    )
    assert read_gguf_header(path).kv_bytes_per_token == (2 + 4) * (64 + 32) * 2


def test_sparse_header(tmp_path: Path) -> None:
    """A header that names only its architecture gives zeros, not errors."""
    header = read_gguf_header(write(tmp_path, general__architecture="mamba"))
    assert header == GgufHeader("mamba", "", 0, 0, None, False)


@pytest.mark.parametrize(
    "names",
    [("fim_pre", "fim_suf", "fim_mid"), ("prefix", "suffix", "middle")],
    ids=["today's keys", "older keys"],
)
def test_infill_tokens(tmp_path: Path, names: tuple[str, ...]) -> None:
    """The tokens of an infill are read where the file names all three."""
    keys = {f"tokenizer__ggml__{name}_token_id": 7 + at for at, name in enumerate(names)}
    whole = write(tmp_path, general__architecture="llama", **keys)
    assert read_gguf_header(whole).fim_token_ids == (7, 8, 9)
    keys.popitem()
    part = write(tmp_path, general__architecture="llama", **keys)
    assert read_gguf_header(part).fim_token_ids is None


def test_no_architecture(tmp_path: Path) -> None:
    """A GGUF file that is no language model is told as such."""
    with pytest.raises(MalformedGguf, match="names no architecture"):
        read_gguf_header(write(tmp_path, general__type="adapter"))
