"""Whether the files of a model are all there and whole, as far as a look at them can tell."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

_GGUF_MAGIC = b"GGUF"
_SPLIT = re.compile(r"(?P<stem>.*)-(?P<part>\d{5})-of-(?P<total>\d{5})\.gguf", re.IGNORECASE)
_WEIGHT_INDEX = "model.safetensors.index.json"
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json", "*.tiktoken")
# A header is a few MB at most; more means that the first bytes are not a length.
_MAX_HEADER_BYTES = 100_000_000


def split_names(file: str) -> list[str]:
    """Returns the names of all parts of a GGUF file, the first one first."""
    match = _SPLIT.fullmatch(file)
    if match is None:
        return [file]
    total = int(match["total"])
    return [f"{match['stem']}-{part:05d}-of-{total:05d}.gguf" for part in range(1, total + 1)]


def find_gguf_defect(file: Path) -> str | None:
    """Returns what is wrong with a GGUF file or a part of it, None where nothing is."""
    for name in split_names(file.name):
        part = file.with_name(name)
        if not part.is_file():
            return f"{name} is missing"
        with part.open("rb") as stream:
            if stream.read(len(_GGUF_MAGIC)) != _GGUF_MAGIC:
                return f"{name} is not a GGUF file"
    return None


def find_tokenizer_defect(folder: Path) -> str | None:
    """Returns what is wrong with a folder that should hold a tokenizer."""
    if any(next(folder.glob(pattern), None) for pattern in _TOKENIZERS):
        return None
    return "there is no tokenizer"


def find_safetensors_defect(folder: Path) -> str | None:
    """Returns what is wrong with a folder of safetensors weights, None where nothing is."""
    if _read_object(folder / "config.json") is None:
        return "config.json is missing or not JSON"
    weights = weight_names(folder)
    if isinstance(weights, str):
        return weights
    for name in weights:
        defect = _find_tensor_defect(folder / name)
        if defect:
            return f"{name} {defect}"
    return find_tokenizer_defect(folder)


def weight_names(folder: Path) -> list[str] | str:
    """Returns the names of the weight files, or what is wrong with their index."""
    index = folder / _WEIGHT_INDEX
    if index.exists():
        content = _read_object(index) or {}
        weight_map = content.get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            return f"{_WEIGHT_INDEX} lists no weights"
        return sorted({str(name) for name in weight_map.values()})  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    return names or "there is no safetensors file"


def _find_tensor_defect(file: Path) -> str | None:
    # The layout of a file: a uint64 length, a JSON header of that length, the tensors that it lists
    # (https://huggingface.co/docs/safetensors, "Format").
    if not file.is_file():
        return "is missing"
    with file.open("rb") as stream:
        start = stream.read(8)
        if len(start) < 8:
            return "is cut short"
        (header_bytes,) = struct.unpack("<Q", start)
        if header_bytes > _MAX_HEADER_BYTES:
            return "is not a safetensors file"
        try:
            header: dict[str, Any] = json.loads(stream.read(header_bytes))
            end = max(
                (
                    int(tensor["data_offsets"][1])
                    for name, tensor in header.items()
                    if name != "__metadata__"
                ),
                default=0,
            )
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return "is not a safetensors file"
    if file.stat().st_size < 8 + header_bytes + end:
        return "is cut short"
    return None


def _read_object(file: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None  # pyright: ignore[reportUnknownVariableType] - JSON
