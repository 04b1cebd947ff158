"""Whether a GGUF file is there and whole, with all its parts, as far as a look at it can tell."""

from __future__ import annotations

import re
from pathlib import Path

from .gguf_file import GgufFile, MalformedGguf, read_gguf_file

_SPLIT = re.compile(r"(?P<stem>.*)-(?P<part>\d{5})-of-(?P<total>\d{5})\.gguf", re.IGNORECASE)


def split_names(file: str) -> list[str]:
    """Returns the names of all parts of a GGUF file, the first one first."""
    match = _SPLIT.fullmatch(file)
    if match is None:
        return [file]
    total = int(match["total"])
    return [f"{match['stem']}-{part:05d}-of-{total:05d}.gguf" for part in range(1, total + 1)]


def count_gguf_bytes(file: Path) -> int:
    """Adds up the sizes of all parts of a GGUF file, the first of which is `file`."""
    return sum(file.with_name(name).stat().st_size for name in split_names(file.name))


def find_gguf_defect(file: Path, *, needs_tokenizer: bool = True) -> str | None:
    """Returns what is wrong with a GGUF file or a part of it, None where nothing is."""
    names = split_names(file.name)
    if file.name != names[0]:
        return f"'{file.name}' is not the first part: name '{names[0]}'"
    missing = [name for name in names if not file.with_name(name).exists()]
    if missing:
        if len(names) == 1:
            return f"there is no file '{file.name}'"
        return f"of {len(names)} parts these are missing: {', '.join(missing)}"
    try:
        parts = [read_gguf_file(file.with_name(name)) for name in names]
    except MalformedGguf as error:
        return str(error)
    if not isinstance(parts[0].keys.get("general.architecture"), str):
        return f"'{file.name}' names no architecture: it is not a language model"
    if needs_tokenizer and "tokenizer.ggml.model" not in parts[0].keys:
        return f"'{file.name}' has no tokenizer"
    return _find_split_defect(names, parts)


def _find_split_defect(names: list[str], parts: list[GgufFile]) -> str | None:
    """Compares the parts of a split file with what each says of itself and of the whole."""
    if len(parts) == 1:
        return None
    owner: dict[str, str] = {}
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        # `split.no` counts from 0 (llama.cpp, tools/gguf-split).
        if (part.keys.get("split.no"), part.keys.get("split.count")) != (number, len(parts)):
            return f"'{name}' says of itself that it is no part {number + 1} of {len(parts)}"
        for tensor in part.tensors:
            if tensor.name in owner:
                return (
                    f"'{name}' is a part of another model: its tensor '{tensor.name}' is in "
                    f"'{owner[tensor.name]}', too"
                )
            owner[tensor.name] = name
    claimed = parts[0].keys.get("split.tensors.count", len(owner))
    for name, part in zip(names, parts, strict=True):
        if part.keys.get("split.tensors.count", claimed) != claimed:
            return f"'{name}' is a part of another model than '{names[0]}'"
    if len(owner) != claimed:
        return f"the {len(parts)} parts hold {len(owner)} of the model's {claimed} tensors"
    return None
