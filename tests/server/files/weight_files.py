"""Bytes of small model files: GGUF and safetensors, as whole or as broken as a test wants them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence

Value = str | int | list[int] | tuple[str, ...]

LLAMA = {"general.architecture": "llama", "tokenizer.ggml.model": "gpt2"}
"""The least keys of a language model."""


def gguf(keys: Mapping[str, Value] = LLAMA, tensors: Sequence[str] = ()) -> bytes:
    """Makes a GGUF file whose tensors hold 32 float32 each."""
    header = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))
    header += b"".join(string(key) + _value(value) for key, value in keys.items())
    for number, name in enumerate(tensors):
        header += string(name) + struct.pack("<IQIQ", 1, 32, 0, 128 * number)
    if not tensors:
        return header
    return header + bytes(-len(header) % 32 + 128 * len(tensors))


def split_part(
    number: int, total: int, tensors: Sequence[str], num_all: int, **keys: Value
) -> bytes:
    """Makes a part of a split GGUF file; only the first tells of the model."""
    model: Mapping[str, Value] = LLAMA if number == 1 else {}
    split = {"split.no": number - 1, "split.count": total, "split.tensors.count": num_all}
    return gguf({**model, **split, **keys}, tensors)


def string(text: str) -> bytes:
    """Makes a GGUF string."""
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _value(value: Value) -> bytes:
    match value:
        case str():
            return struct.pack("<I", 8) + string(value)
        case int():
            return struct.pack("<II", 4, value)
        case tuple():
            texts = b"".join(map(string, value))
            return struct.pack("<IIQ", 9, 8, len(value)) + texts
        case list():
            return struct.pack("<IIQ", 9, 5, len(value)) + struct.pack(f"<{len(value)}i", *value)


def tensor_file(*names: str) -> bytes:
    """Makes a safetensors file with these tensors of 64 bytes each."""
    header = json.dumps(
        {
            name: {"dtype": "U8", "shape": [64], "data_offsets": [64 * at, 64 * (at + 1)]}
            for at, name in enumerate(names)
        }
    ).encode()
    return struct.pack("<Q", len(header)) + header + bytes(64 * len(names))


def index_of(**tensors: str) -> bytes:
    """Makes the index of a model in shards: names of files by tensor."""
    return json.dumps({"metadata": {}, "weight_map": tensors}).encode()


CONFIG = json.dumps({"architectures": ["LlamaForCausalLM"]}).encode()
TOKENIZER = {
    "tokenizer.json": b'{"model": {"vocab": {"x": 0}}}',
    "tokenizer_config.json": b'{"eos_token": "x"}',
}
