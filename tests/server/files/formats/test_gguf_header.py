"""The header of a GGUF file."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import pytest
from tokenwire.server.files.formats.gguf_file import TENSOR_TYPES, MalformedGguf, read_gguf_file
from tokenwire.server.files.formats.gguf_header import GgufHeader, read_gguf_header

from ..weight_files import Value, gguf, string


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


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_anywhere(tmp_path: Path, share: float) -> None:
    """A header that ends too early is told as truncated, wherever it ends."""
    path = write(tmp_path, general__architecture="llama", tokens=[1] * 100, name="x" * 100)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(MalformedGguf, match="truncated"):
        read_gguf_header(path)


def test_truncated_vocabulary(tmp_path: Path) -> None:
    """A list of strings that runs past the end is told as truncated."""
    path = tmp_path / "model.gguf"
    array = struct.pack("<IIQ", 9, 8, 1_000) + string("a") * 10
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("tokens") + array)
    with pytest.raises(MalformedGguf, match="truncated"):
        read_gguf_header(path)


def test_unknown_type(tmp_path: Path) -> None:
    """A value of an unknown type is told as damage."""
    path = tmp_path / "model.gguf"
    path.write_bytes(
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("a") + struct.pack("<I", 99) + b"\0" * 16
    )
    with pytest.raises(MalformedGguf, match="type 99"):
        read_gguf_header(path)


def test_folder(tmp_path: Path) -> None:
    """A folder is no file."""
    with pytest.raises(MalformedGguf, match="is a folder"):
        read_gguf_header(tmp_path)


def test_tensors_of_small_model(gguf_file: Path) -> None:
    """The places of the tensors are read: they follow each other up to the end of the file."""
    tensors = sorted(read_gguf_file(gguf_file).tensors, key=lambda tensor: tensor.offset)
    assert len(tensors) == 272
    for tensor, following in pairwise(tensors):
        assert tensor.offset + tensor.num_bytes <= following.offset < tensor.offset + (1 << 25)
    data_bytes = tensors[-1].offset + tensors[-1].num_bytes
    assert 0.9 < data_bytes / gguf_file.stat().st_size < 1


def test_sizes_of_tensor_types() -> None:
    """The sizes of blocks are those of the format's own library."""
    constants = pytest.importorskip("gguf.constants", reason="comes with SGLang")
    assert {int(kind): size for kind, size in constants.GGML_QUANT_SIZES.items()} == TENSOR_TYPES
