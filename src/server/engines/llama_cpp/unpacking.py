"""The built-in model with 16 bits a weight, made once from its 4-bit file and kept.

llama.cpp multiplies 4-bit weights with activations rounded to 8 bits, and 16-bit weights with exact
ones. A model as small as the built-in one feels that: asked for the capital of France, it answers
with Paris, as it does on SGLang, from exact activations only. On a CPU it decodes as fast (74 and
75 tokens/s, SmolLM2-135M Q4_1 and F16, one thread).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def unpacked_path(source: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Names the file in the user's cache that holds the unpacked weights of `source`."""
    cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    status = source.stat()
    # A file that changes gets another name: unpacking is not done again for nothing else.
    name = f"{source.stem}-{status.st_size:x}-{status.st_mtime_ns:x}-f16.gguf"
    return cache / "tokenwire" / "unpacked" / name


def unpack(source: Path, target: Path) -> None:
    """Writes `source` to `target` with every quantised tensor as float16.

    `target` appears only once it is whole.

    Raises:
        ImportError: the package `gguf` is not installed.
        OSError: the file cannot be kept there.
    """
    # Only for this: 1 s of imports.
    import gguf  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    reader: Any = gguf.GGUFReader(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f"{target.name}.", dir=target.parent)
    os.close(handle)
    try:
        architecture = reader.get_field("general.architecture").contents()
        writer: Any = gguf.GGUFWriter(partial, architecture)
        for field in reader.fields.values():
            if field.name.startswith("GGUF.") or field.name == "general.architecture":
                continue  # the writer's own
            if field.name == "general.file_type":
                writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
                continue
            is_array = field.types[0] == gguf.GGUFValueType.ARRAY
            writer.add_key_value(
                field.name,
                field.contents(),
                field.types[0],
                sub_type=field.types[-1] if is_array else None,
            )
        for tensor in reader.tensors:
            if tensor.tensor_type in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16):
                writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
                continue
            values = gguf.dequantize(tensor.data, tensor.tensor_type)
            writer.add_tensor(tensor.name, values.astype(np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        Path(partial).replace(target)
    finally:
        Path(partial).unlink(missing_ok=True)
