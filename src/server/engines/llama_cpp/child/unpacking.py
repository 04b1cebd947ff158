"""The built-in model with 16 bits a weight, made once from its 4-bit file and kept.

llama.cpp multiplies 4-bit weights with activations rounded to 8 bits, and 16-bit weights with exact
ones. A model as small as the built-in one feels that: asked for the capital of France, it answers
with Paris, as it does on SGLang, from exact activations only. On a CPU it decodes as fast
(`bench/unpacking.py`).
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ....contract.user_cache import user_cache


def unpacked_path(source: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Names the file in the user's cache that holds the unpacked weights of `source`."""
    cache = user_cache(environment.get("XDG_CACHE_HOME"))
    status = source.stat()
    # A file that changes gets another name: unpacking is not done again for nothing else.
    name = f"{source.stem}-{status.st_size:x}-{status.st_mtime_ns:x}-f16.gguf"
    return cache / "tokenwire" / "unpacked" / name


def unpack(source: Path, target: Path) -> None:
    """Writes `source` to `target` with every quantised tensor as float16.

    `target` appears only once it is whole. The built-in model takes some 3 s and 600 MB of
    memory: a process of its own is the place for it, as for the engine.

    Raises:
        ImportError: the package gguf is not installed.
        OSError: the file cannot be read or kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f"{target.name}.", dir=target.parent)
    os.close(handle)
    try:
        _write_unpacked(_import_gguf(), source, partial)
        Path(partial).replace(target)
    finally:
        Path(partial).unlink(missing_ok=True)


def _import_gguf() -> Any:  # its types are partial
    # It imports these where it can, for vocabularies of other kinds: one makes Python crash while
    # it ends (its capsules outlive its types), the other takes long.
    modules = cast("dict[str, Any]", sys.modules)  # None, which forbids an import, is no module
    modules.setdefault("sentencepiece", None)
    modules.setdefault("mistral_common", None)
    return importlib.import_module("gguf")


def _write_unpacked(gguf: Any, source: Path, target: str) -> None:
    reader = gguf.GGUFReader(source)
    architecture = reader.fields.pop("general.architecture").contents()
    del reader.fields["general.file_type"]
    writer = gguf.GGUFWriter(target, architecture)
    for name, field in reader.fields.items():
        if not name.startswith("GGUF."):  # the reader's own names for the file's first numbers
            writer.add_key_value(name, field.contents(), field.types[0], field.types[-1])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for tensor in reader.tensors:
        values = tensor.data
        if tensor.tensor_type not in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16):
            values = gguf.dequantize(values, tensor.tensor_type).astype("float16")
        writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
