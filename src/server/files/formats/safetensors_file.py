"""The header of a safetensors file, checked without reading the weights.

Format: https://huggingface.co/docs/safetensors ("Format"): a uint64 length, a JSON header of that
length, and the tensors that it lists, which fill the rest of the file to its last byte.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Final

import orjson

_LENGTH: Final = struct.Struct("<Q")
_MAX_HEADER_BYTES: Final = 100_000_000
"""The limit of the safetensors library itself."""


class MalformedSafetensors(Exception):
    """The file is not a whole safetensors file. The message is for the operator."""


def read_tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the tensors of a file that is as long as they need, by name.

    Raises:
        MalformedSafetensors: missing, another format, damaged, or of another length.
    """
    name = file.name
    if not file.exists():
        raise MalformedSafetensors(f"{name} is missing")
    if not file.is_file():
        raise MalformedSafetensors(f"{name} is not a file")
    num_bytes = file.stat().st_size
    if not num_bytes:
        raise MalformedSafetensors(f"{name} is empty")
    with file.open("rb") as stream:
        start = stream.read(_LENGTH.size)
        if len(start) < _LENGTH.size:
            raise MalformedSafetensors(f"{name} is cut short")
        (header_bytes,) = _LENGTH.unpack(start)
        if header_bytes > _MAX_HEADER_BYTES:
            raise MalformedSafetensors(f"{name} is not a safetensors file")
        header = stream.read(header_bytes)
    if len(header) < header_bytes:
        raise MalformedSafetensors(f"{name} is cut short: its header has {header_bytes} bytes")
    try:
        tensors: dict[str, Any] = orjson.loads(header)
        tensors.pop("__metadata__", None)
        end = max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
        shapes = {
            tensor: tuple(int(length) for length in entry["shape"])
            for tensor, entry in tensors.items()
        }
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise MalformedSafetensors(f"{name} is not a safetensors file") from error
    expected = _LENGTH.size + header_bytes + end
    if num_bytes < expected:
        raise MalformedSafetensors(f"{name} is cut short: {num_bytes} of {expected} bytes are here")
    if num_bytes > expected:
        raise MalformedSafetensors(
            f"{name} is damaged: it has {num_bytes} bytes, and its header accounts for {expected}"
        )
    return shapes
