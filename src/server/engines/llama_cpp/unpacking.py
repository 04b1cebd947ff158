"""The built-in model with 16 bits a weight, made once from its 4-bit file and kept.

llama.cpp multiplies 4-bit weights with activations rounded to 8 bits, and 16-bit weights with exact
ones. A model as small as the built-in one feels that: asked for the capital of France, it answers
with Paris, as it does on SGLang, from exact activations only. On a CPU it decodes as fast
(`bench/unpacking.py`).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final


def unpacked_path(source: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Names the file in the user's cache that holds the unpacked weights of `source`."""
    cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    status = source.stat()
    # A file that changes gets another name: unpacking is not done again for nothing else.
    name = f"{source.stem}-{status.st_size:x}-{status.st_mtime_ns:x}-f16.gguf"
    return cache / "tokenwire" / "unpacked" / name


def unpack(source: Path, target: Path) -> None:
    """Writes `source` to `target` with every quantised tensor as float16.

    `target` appears only once it is whole. Uses the functions of gguf.h and ggml.h that the
    engine's own library exports; a process of its own is the place for it, as for the engine.

    Raises:
        OSError: the library lacks a function, or the file cannot be read or kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f"{target.name}.", dir=target.parent)
    os.close(handle)
    try:
        _write_unpacked(_load_library(), os.fsencode(source), os.fsencode(partial))
        Path(partial).replace(target)
    except AttributeError as error:
        raise OSError(str(error)) from error
    finally:
        Path(partial).unlink(missing_ok=True)


_TYPE_F16: Final = 1  # enum ggml_type
_FILE_TYPE_F16: Final = 1  # enum llama_ftype


class _GgufInit(ctypes.Structure):
    """struct gguf_init_params."""

    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.POINTER(ctypes.c_void_p)))


class _GgmlInit(ctypes.Structure):
    """struct ggml_init_params."""

    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


_ToFloat = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)


class _TypeTraits(ctypes.Structure):
    """The beginning of struct ggml_type_traits."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("block_size", ctypes.c_int64),
        ("block_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", _ToFloat),
    )


def _load_library() -> ctypes.CDLL:
    spec = importlib.util.find_spec("xllamacpp.xllamacpp")
    if spec is None or spec.origin is None:
        raise OSError("the library of xllamacpp is not found")
    library = ctypes.CDLL(spec.origin)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64
    for name, result, arguments in (
        ("gguf_init_from_file", pointer, (ctypes.c_char_p, _GgufInit)),
        ("gguf_init_empty", pointer, ()),
        ("gguf_set_kv", None, (pointer, pointer)),
        ("gguf_set_val_u32", None, (pointer, ctypes.c_char_p, ctypes.c_uint32)),
        ("gguf_get_n_tensors", number, (pointer,)),
        ("gguf_get_tensor_name", ctypes.c_char_p, (pointer, number)),
        ("gguf_get_tensor_type", ctypes.c_int, (pointer, number)),
        ("gguf_get_tensor_ne", ctypes.POINTER(number), (pointer, number)),
        ("gguf_add_tensor", None, (pointer, pointer)),
        ("gguf_write_to_file", ctypes.c_bool, (pointer, ctypes.c_char_p, ctypes.c_bool)),
        ("ggml_init", pointer, (_GgmlInit,)),
        ("ggml_tensor_overhead", size, ()),
        ("ggml_get_tensor", pointer, (pointer, ctypes.c_char_p)),
        ("ggml_get_data", pointer, (pointer,)),
        ("ggml_nelements", number, (pointer,)),
        ("ggml_n_dims", ctypes.c_int, (pointer,)),
        ("ggml_new_tensor", pointer, (pointer, ctypes.c_int, ctypes.c_int, pointer)),
        ("ggml_set_name", pointer, (pointer, ctypes.c_char_p)),
        ("ggml_get_type_traits", ctypes.POINTER(_TypeTraits), (ctypes.c_int,)),
        ("ggml_fp32_to_fp16_row", None, (pointer, pointer, number)),
    ):
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


def _write_unpacked(lib: ctypes.CDLL, source: bytes, target: bytes) -> None:
    # Nothing is freed: the process loads the result next, and the kernel takes the rest back from
    # it when it ends. What stays is under 0.5 GB for the one file that this is for.
    tensors = ctypes.c_void_p()
    packed = lib.gguf_init_from_file(source, _GgufInit(False, ctypes.pointer(tensors)))
    if not packed:
        raise OSError("the file cannot be read")
    unpacked = lib.gguf_init_empty()
    lib.gguf_set_kv(unpacked, packed)
    lib.gguf_set_val_u32(unpacked, b"general.file_type", _FILE_TYPE_F16)
    for index in range(lib.gguf_get_n_tensors(packed)):
        name = lib.gguf_get_tensor_name(packed, index)
        tensor = lib.ggml_get_tensor(tensors, name)
        traits = lib.ggml_get_type_traits(lib.gguf_get_tensor_type(packed, index)).contents
        if traits.is_quantized:
            shape = lib.gguf_get_tensor_ne(packed, index)
            tensor = _as_float16(lib, tensor, name, traits, shape)
        lib.gguf_add_tensor(unpacked, tensor)
    if not lib.gguf_write_to_file(unpacked, target, False):
        raise OSError("the unpacked weights cannot be written")


def _as_float16(lib: ctypes.CDLL, tensor: int, name: bytes, traits: _TypeTraits, shape: Any) -> int:
    num_elements = lib.ggml_nelements(tensor)
    room = 2 * num_elements + 2 * lib.ggml_tensor_overhead()
    context = lib.ggml_init(_GgmlInit(room, None, False))
    if not context:
        raise OSError("there is not enough memory")
    converted: int = lib.ggml_new_tensor(context, _TYPE_F16, lib.ggml_n_dims(tensor), shape)
    lib.ggml_set_name(converted, name)
    values = (ctypes.c_float * num_elements)()
    traits.to_float(lib.ggml_get_data(tensor), ctypes.addressof(values), num_elements)
    lib.ggml_fp32_to_fp16_row(ctypes.addressof(values), lib.ggml_get_data(converted), num_elements)
    return converted
