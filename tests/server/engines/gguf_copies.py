"""Copies of the small model with changes that only a whole file can show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Comes with SGLang, which reads such files with it.
import gguf

Rename = Callable[[str], str]


def write_copy(
    source: Path,
    target: Path,
    *,
    keys: Mapping[str, int | str] | None = None,
    without: tuple[str, ...] = (),
    rename: Rename = str,
    tokens: Mapping[str, str] | None = None,
    num_parts: int = 1,
) -> Path:
    """Writes a GGUF file again; returns the path of its first part.

    `keys` are set and `without` (beginnings of names) left out; `rename` gives tensors other names,
    and those whose name it makes empty are left out; `tokens` renames tokens of the vocabulary.
    """
    reader: Any = gguf.GGUFReader(source)
    tensors = [(rename(tensor.name), tensor) for tensor in reader.tensors]
    tensors = [(name, tensor) for name, tensor in tensors if name]
    changed = dict(keys or {})
    architecture = reader.fields["general.architecture"].contents()
    writer: Any = gguf.GGUFWriter(
        target,
        str(changed.pop("general.architecture", architecture)),
        split_max_tensors=-(-len(tensors) // num_parts) if num_parts > 1 else 0,
    )
    for name, field in reader.fields.items():
        if name.startswith(("GGUF.", "general.architecture", *without)) or name in changed:
            continue
        kind = field.types[0]
        content = field.contents()
        if name == "tokenizer.ggml.tokens":
            content = [(tokens or {}).get(token, token) for token in content]
        sub_kind = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, content, kind, sub_kind)
    for name, value in changed.items():
        add = writer.add_string if isinstance(value, str) else writer.add_uint32
        add(name, value)
    for name, tensor in tensors:
        writer.add_tensor(name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if num_parts == 1:
        return target
    return target.with_name(f"{target.stem}-00001-of-{num_parts:05d}.gguf")
