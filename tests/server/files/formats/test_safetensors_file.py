"""The header of a safetensors file; its faults are among those of a folder."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from tokenwire.server.files.formats.safetensors_file import (
    MalformedSafetensors,
    read_tensor_shapes,
)


def test_shapes_without_metadata(tmp_path: Path) -> None:
    """Tensors come with their shapes; what is said about the file is no tensor."""
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "b": {"dtype": "F32", "shape": [], "data_offsets": [24, 28]},
        }
    ).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(28))
    assert read_tensor_shapes(file) == {"a": (2, 3), "b": ()}


def test_a_header_at_its_limit_and_above(tmp_path: Path) -> None:
    """A header of the library's limit is read; one that claims a byte more is none."""
    file = tmp_path / "model.safetensors"
    for num_bytes, told in ((100_000_000, "is cut short"), (100_000_001, "is not a safetensors")):
        file.write_bytes(struct.pack("<Q", num_bytes) + b"{}")
        with pytest.raises(MalformedSafetensors, match=told):
            read_tensor_shapes(file)
