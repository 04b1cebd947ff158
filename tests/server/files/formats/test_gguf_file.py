"""The outer form of a GGUF file."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import gguf.constants
import pytest
from tokenwire.server.files.formats.gguf_file import TENSOR_TYPES, MalformedGguf, read_gguf_file

from ..weight_files import string
from .test_gguf_header import write


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_anywhere(tmp_path: Path, share: float) -> None:
    """A header that ends too early is told as truncated, wherever it ends."""
    path = write(tmp_path, general__architecture="llama", tokens=[1] * 100, name="x" * 100)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(MalformedGguf, match="truncated"):
        read_gguf_file(path)


def test_truncated_vocabulary(tmp_path: Path) -> None:
    """A list of strings that runs past the end is told as truncated."""
    path = tmp_path / "model.gguf"
    array = struct.pack("<IIQ", 9, 8, 1_000) + string("a") * 10
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("tokens") + array)
    with pytest.raises(MalformedGguf, match="truncated"):
        read_gguf_file(path)


def test_unknown_type(tmp_path: Path) -> None:
    """A value of an unknown type is told as damage."""
    path = tmp_path / "model.gguf"
    path.write_bytes(
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("a") + struct.pack("<I", 99) + b"\0" * 16
    )
    with pytest.raises(MalformedGguf, match="type 99"):
        read_gguf_file(path)


def test_folder(tmp_path: Path) -> None:
    """A folder is no file."""
    with pytest.raises(MalformedGguf, match="is a folder"):
        read_gguf_file(tmp_path)


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
    sizes = gguf.constants.GGML_QUANT_SIZES
    assert {int(kind): size for kind, size in sizes.items()} == TENSOR_TYPES


def header_of(num_tensors: int, num_keys: int) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", 3, num_tensors, num_keys)


@pytest.mark.parametrize(
    ("make", "limit", "words"),
    [
        (lambda number: header_of(0, number), 65_536, "claims 65537 header keys"),
        (lambda number: header_of(number, 0), 1_048_576, "claims 1048577 tensors"),
        (
            lambda number: header_of(1, 0) + string("a") + struct.pack("<I", number),
            4,
            "a tensor claims 5 dimensions",
        ),
        (
            lambda number: header_of(0, 1) + string("a") + struct.pack("<IIQ", 9, 4, number),
            16_777_216,
            "claims 16777217 elements",
        ),
    ],
    ids=["keys", "tensors", "dimensions", "elements"],
)
def test_what_a_header_claims_at_its_limit_and_above(
    tmp_path: Path, make: Callable[[int], bytes], limit: int, words: str
) -> None:
    """As many as the limit are looked for, and found to be missing; one more is not believed."""
    file = tmp_path / "m.gguf"
    for number, told in ((limit, "is truncated"), (limit + 1, words)):
        file.write_bytes(make(number))
        with pytest.raises(MalformedGguf, match=told):
            read_gguf_file(file)
