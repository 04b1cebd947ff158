"""The header of a safetensors file; its faults are among those of a folder."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from tokenwire.server.files.formats.safetensors_file import read_tensor_shapes


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
