"""The outer form of a GGUF file: its keys and where its tensors lie, read without loading it.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MAGIC: Final = b"GGUF"
_MAX_KEYS: Final = 65_536
_MAX_TENSORS: Final = 1_048_576
_MAX_DIMENSIONS: Final = 4
_MAX_ELEMENTS: Final = 16_777_216
_DEFAULT_ALIGNMENT: Final = 32
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

TENSOR_TYPES: Final = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 40), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),
    28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36),
    41: (128, 18),
}  # fmt: skip
"""Elements and bytes of a block, by `ggml_type` (`type_traits` in ggml.c; gguf-py's constants)."""

Value = str | int | float | list["str | int | float"] | None
"""A value of a key; None for an array that is too long to keep."""


class MalformedGguf(Exception):
    """The file is not a readable GGUF file. The message is for the operator."""


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor: `offset` and `num_bytes` in the data that follows the header."""

    name: str
    offset: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class GgufFile:
    """What the header of a file says, checked against the file's own length.

    `keys` lack nothing, but arrays of over 4,096 elements and arrays of strings are None, unless
    they were to be kept. Of strings that were not, `longest_strings` has the bytes of the longest
    element, by key.
    """

    keys: Mapping[str, Value]
    tensors: tuple[GgufTensor, ...]
    longest_strings: Mapping[str, int]


def read_gguf_file(path: Path, keep: frozenset[str] = frozenset()) -> GgufFile:
    """Reads the header. Blocks for up to 0.2 s with large vocabularies.

    `keep` names keys of which arrays are kept, whatever they hold; 0.2 s more.

    Raises:
        MalformedGguf: missing, not GGUF, truncated or nonsensical.
    """
    try:
        if path.is_dir():
            raise MalformedGguf(f"'{path.name}' is a folder, not a file")
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
            if not magic:
                raise MalformedGguf(f"'{path.name}' is empty")
            if magic != _MAGIC:
                raise MalformedGguf(f"'{path.name}' is not a GGUF file: it begins with {magic!r}")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Walker(data, path.name, keep).walk()
    except OSError as error:
        raise MalformedGguf(f"'{path.name}' cannot be read: {error.strerror}") from error


class _Walker:
    """Walks over the header's bytes, always inside of them."""

    def __init__(self, data: mmap.mmap, name: str, keep: frozenset[str]) -> None:
        self._data = data
        self._name = name
        self._keep = keep
        self._at = len(_MAGIC)
        self._longest = 0

    def walk(self) -> GgufFile:
        version = self._number(_TYPE)
        if version not in (2, 3):
            raise MalformedGguf(f"'{self._name}' has GGUF version {version}; 2 and 3 are known")
        num_tensors = self._number(_LENGTH)
        if num_tensors > _MAX_TENSORS:
            raise MalformedGguf(f"'{self._name}' is damaged: it claims {num_tensors} tensors")
        num_keys = self._number(_LENGTH)
        if num_keys > _MAX_KEYS:
            raise MalformedGguf(f"'{self._name}' is damaged: it claims {num_keys} header keys")
        keys: dict[str, Value] = {}
        longest_strings: dict[str, int] = {}
        for _ in range(num_keys):
            key = self._string()
            self._longest = 0
            keys[key] = self._value(self._number(_TYPE), is_kept=key in self._keep)
            if self._longest:
                longest_strings[key] = self._longest
        tensors = tuple(self._tensor() for _ in range(num_tensors))
        self._check_length(keys, tensors)
        return GgufFile(keys, tensors, longest_strings)

    def _tensor(self) -> GgufTensor:
        name = self._string()
        num_dimensions = self._number(_TYPE)
        if num_dimensions > _MAX_DIMENSIONS:
            raise MalformedGguf(
                f"'{self._name}' is damaged: a tensor claims {num_dimensions} dimensions"
            )
        num_elements = math.prod(self._number(_LENGTH) for _ in range(num_dimensions))
        # A type that is not known yet takes at least no bytes.
        block_elements, block_bytes = TENSOR_TYPES.get(self._number(_TYPE), (1, 0))
        offset = self._number(_LENGTH)
        return GgufTensor(name, offset, num_elements // block_elements * block_bytes)

    def _check_length(self, keys: Mapping[str, Value], tensors: tuple[GgufTensor, ...]) -> None:
        if not tensors:
            return
        alignment = keys.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1:
            raise MalformedGguf(
                f"'{self._name}' is damaged: its tensors are aligned to {alignment}"
            )
        start = -(-self._at // alignment) * alignment
        end = start + max(tensor.offset + tensor.num_bytes for tensor in tensors)
        if end > len(self._data):
            raise MalformedGguf(
                f"'{self._name}' is truncated: its tensors end at byte {end}, the file at byte "
                f"{len(self._data)}"
            )

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

    def _value(self, kind: int, *, is_kept: bool) -> Value:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array(is_kept=is_kept)
        number: int | float = self._kind(kind).unpack_from(
            self._data, self._take(self._kind(kind).size)
        )[0]
        return number

    def _array(self, *, is_kept: bool) -> Value:
        kind = self._number(_TYPE)
        length = self._number(_LENGTH)
        if length > _MAX_ELEMENTS:
            raise MalformedGguf(f"'{self._name}' is damaged: an array claims {length} elements")
        if kind == _STRING:
            if is_kept:
                return [self._string() for _ in range(length)]
            self._skip_strings(length)
            return None
        packed = self._kind(kind)
        at = self._take(packed.size * length)
        if length > _MAX_KEPT_ELEMENTS and not is_kept:
            return None
        return [packed.unpack_from(self._data, at + i * packed.size)[0] for i in range(length)]

    def _skip_strings(self, length: int) -> None:
        # A vocabulary has 10^5 strings: locals and no calls but two, 20 ms instead of 150.
        data, at, end = self._data, self._at, len(self._data) - _LENGTH.size
        unpack = _LENGTH.unpack_from
        longest = 0
        for _ in range(length):
            if at > end:
                raise MalformedGguf(f"'{self._name}' is truncated: its header runs past its end")
            num_bytes = unpack(data, at)[0]
            longest = max(longest, num_bytes)
            at += _LENGTH.size + num_bytes
        self._at = min(at, len(data))
        self._longest = longest

    def _kind(self, kind: int) -> struct.Struct:
        try:
            return _NUMBERS[kind]
        except KeyError:
            raise MalformedGguf(
                f"'{self._name}' is damaged: its header has a value of type {kind}"
            ) from None
