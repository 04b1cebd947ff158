"""What the header of a GGUF file tells, read without loading the model.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAGIC: Final = b"GGUF"
_MAX_KEYS: Final = 65_536
_MAX_ELEMENTS: Final = 16_777_216
_NUMBERS: Final = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_STRING: Final = 8
_ARRAY: Final = 9
_LENGTH: Final = struct.Struct("<Q")
_TYPE: Final = struct.Struct("<I")
# Longer arrays are vocabularies: walked over, not kept.
_MAX_KEPT_ELEMENTS: Final = 4_096

# llama_ftype of llama.h, by the names that people know from file names.
_FILE_TYPES: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0",
    38: "MXFP4",
}  # fmt: skip

_Value = str | int | float | list["str | int | float"] | None


class MalformedGguf(Exception):
    """The file is not a readable GGUF file. The message is for the operator."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """The keys of a GGUF file that decide how it is served.

    `kv_bytes_per_token` is the size of one token's keys and values over all layers, in float16;
    0 for models that keep no such cache. `trained_context_length` is 0 where the file is silent.
    """

    architecture: str
    quantization: str
    trained_context_length: int
    kv_bytes_per_token: int
    begin_token_id: int | None
    has_chat_template: bool


def read_gguf_header(path: Path) -> GgufHeader:
    """Reads the header. Blocks for up to 0.2 s with large vocabularies.

    Raises:
        MalformedGguf: missing, not GGUF, truncated or nonsensical.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
            if magic != MAGIC:
                raise MalformedGguf(f"'{path.name}' is not a GGUF file: it begins with {magic!r}")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                keys = _Walker(data, path.name).keys()
    except OSError as error:
        raise MalformedGguf(f"'{path.name}' cannot be read: {error.strerror}") from error
    return _header(keys, path.name)


class _Walker:
    """Walks over the header's bytes, always inside of them."""

    def __init__(self, data: mmap.mmap, name: str) -> None:
        self._data = data
        self._name = name
        self._at = len(MAGIC)

    def keys(self) -> dict[str, _Value]:
        version = self._number(_TYPE)
        if version not in (2, 3):
            raise MalformedGguf(f"'{self._name}' has GGUF version {version}; 2 and 3 are known")
        self._number(_LENGTH)  # the number of tensors
        num_keys = self._number(_LENGTH)
        if num_keys > _MAX_KEYS:
            raise MalformedGguf(f"'{self._name}' is damaged: it claims {num_keys} header keys")
        return {self._string(): self._value(self._number(_TYPE)) for _ in range(num_keys)}

    def _take(self, num_bytes: int) -> int:
        at = self._at
        if num_bytes > len(self._data) - at:
            raise MalformedGguf(f"'{self._name}' is truncated: its header runs past its end")
        self._at = at + num_bytes
        return at

    def _number(self, kind: struct.Struct) -> int:
        return int(kind.unpack_from(self._data, self._take(kind.size))[0])

    def _string(self) -> str:
        num_bytes = self._number(_LENGTH)
        at = self._take(num_bytes)
        return self._data[at : at + num_bytes].decode(errors="replace")

    def _value(self, kind: int) -> _Value:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        number: int | float = self._kind(kind).unpack_from(
            self._data, self._take(self._kind(kind).size)
        )[0]
        return number

    def _array(self) -> _Value:
        kind = self._number(_TYPE)
        length = self._number(_LENGTH)
        if length > _MAX_ELEMENTS:
            raise MalformedGguf(f"'{self._name}' is damaged: an array claims {length} elements")
        if kind == _STRING:
            self._skip_strings(length)
            return None
        packed = self._kind(kind)
        at = self._take(packed.size * length)
        if length > _MAX_KEPT_ELEMENTS:
            return None
        return [packed.unpack_from(self._data, at + i * packed.size)[0] for i in range(length)]

    def _skip_strings(self, length: int) -> None:
        # A vocabulary has 10^5 strings: locals and no calls but two, 20 ms instead of 150.
        data, at, end = self._data, self._at, len(self._data) - _LENGTH.size
        unpack = _LENGTH.unpack_from
        for _ in range(length):
            if at > end:
                raise MalformedGguf(f"'{self._name}' is truncated: its header runs past its end")
            at += _LENGTH.size + unpack(data, at)[0]
        self._at = min(at, len(data))

    def _kind(self, kind: int) -> struct.Struct:
        try:
            return _NUMBERS[kind]
        except KeyError:
            raise MalformedGguf(
                f"'{self._name}' is damaged: its header has a value of type {kind}"
            ) from None


def _header(keys: Mapping[str, _Value], name: str) -> GgufHeader:
    architecture = keys.get("general.architecture")
    if not isinstance(architecture, str):
        raise MalformedGguf(f"'{name}' names no architecture: it is not a language model")
    begin = keys.get("tokenizer.ggml.bos_token_id")
    file_type = keys.get("general.file_type")
    return GgufHeader(
        architecture=architecture,
        quantization=_FILE_TYPES.get(file_type, "") if isinstance(file_type, int) else "",
        trained_context_length=_first(keys.get(f"{architecture}.context_length")),
        kv_bytes_per_token=_kv_bytes_per_token(keys, architecture),
        begin_token_id=begin if isinstance(begin, int) else None,
        has_chat_template=isinstance(keys.get("tokenizer.chat_template"), str),
    )


def _kv_bytes_per_token(keys: Mapping[str, _Value], architecture: str) -> int:
    num_layers = _first(keys.get(f"{architecture}.block_count"))
    num_heads = _first(keys.get(f"{architecture}.attention.head_count"))
    kv_heads = keys.get(f"{architecture}.attention.head_count_kv")
    embedding_length = _first(keys.get(f"{architecture}.embedding_length"))
    head_dim = embedding_length // num_heads if num_heads else 0
    key_length = _first(keys.get(f"{architecture}.attention.key_length")) or head_dim
    value_length = _first(keys.get(f"{architecture}.attention.value_length")) or head_dim
    if isinstance(kv_heads, list):
        # One number a layer, 0 where a layer has no attention.
        num_kv_heads = sum(heads for heads in kv_heads if isinstance(heads, int))
    else:
        num_kv_heads = num_layers * (_first(kv_heads) or num_heads)
    return num_kv_heads * (key_length + value_length) * 2


def _first(value: _Value) -> int:
    # Some architectures give a number a layer where others give one for all.
    if isinstance(value, list):
        value = max((element for element in value if isinstance(element, int)), default=0)
    return value if isinstance(value, int) else 0
