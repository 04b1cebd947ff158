"""Requests that are nearly right: changed field by field where they are messages, and as bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_TEXTS: Final = (
    "", " ", "\0", "a" * 300, "\u00e9" * 600, "x" * 70_000, "\u202e\ufeff", "\U0001f600" * 40,
    "../../etc/passwd", "%s%n{}${x}", "test/scripted", "test/SCRIPTED ", "(a+)+$", "[", "(?<=a)b",
    "{", "null", '{"type": "object"}', '{"$ref": "#"}', '{"type": 7}', "[" * 3000, "root ::= root",
    'root ::= "a"', "data:image/png;base64,AAAA", "http://127.0.0.1/x", "file:///etc/passwd",
    "<|im_start|>", "\n\r\n", "-1", "\u2028",
)  # fmt: skip
_INTEGERS: Final = (0, 1, -1, 2, 16, 17, 100, 101, 255, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1)
_FLOATS: Final = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 2.5, 1e38, -1e38, 1e-45, math.nan, math.inf)
_BYTES: Final = (b"", b"\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a" + b"\xff" * 50)
_SHORT_TEXTS: Final = tuple(text for text in _TEXTS if len(text) < 50)
_MAX_NEW_DEPTH: Final = 6
_BIG_VARINTS: Final = (b"\xff" * 9 + b"\x01", b"\xff" * 10 + b"\x01", b"\x80" * 20, b"\xff" * 12)


def mutate(random: Random, request: Message) -> bytes:
    """Returns the bytes of a request after a few changes to its fields, its bytes, or both."""
    changed = type(request)()
    changed.CopyFrom(request)
    for _ in range(random.choice((0, 1, 1, 2, 4))):
        _change_field(random, random.choice(list(_messages(changed))))
    data: bytes = changed.SerializeToString()
    for _ in range(random.choice((0, 0, 1, 1, 2, 5))):
        data = random.choice(_BYTE_CHANGES)(random, data)
    return data


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in value if field.is_repeated else (value,):
            yield from _messages(each)


def _change_field(random: Random, message: Message, depth: int = 0) -> None:
    fields = message.DESCRIPTOR.fields
    if not fields or depth > _MAX_NEW_DEPTH:
        return
    field: FieldDescriptor = random.choice(list(fields))
    if random.random() < 0.15:
        message.ClearField(field.name)
        return
    value: Any = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _change_entry(random, field, value, depth)
    elif field.is_repeated:
        number = _number_of_items(random, depth)
        if field.message_type is None:
            item = _scalar(random, field, is_short=number > 2)
            value.extend([item] * number)
            return
        for _ in range(number):
            item = value.add()
            if number <= 20:
                _change_field(random, item, depth + 1)
    elif field.message_type is not None:
        value.SetInParent()
        _change_field(random, value, depth + 1)
    else:
        setattr(message, field.name, _scalar(random, field))


def _change_entry(random: Random, field: FieldDescriptor, entries: Any, depth: int) -> None:
    keys, values = (
        field.message_type.fields_by_name["key"],
        field.message_type.fields_by_name["value"],
    )
    for _ in range(_number_of_items(random, depth)):
        key = (
            random.randrange(2**32)
            if keys.type != keys.TYPE_STRING
            else random.choice(_SHORT_TEXTS)
        )
        if values.message_type is not None:
            _change_field(random, entries[key], depth + 3)
        else:
            entries[key] = _scalar(random, values, is_short=True)


def _number_of_items(random: Random, depth: int) -> int:
    # Long lists are rare, and in nothing that is many itself: a case has some hundred kB at most.
    return random.choice((1, 1, 2, 20, 300, 1100) if depth == 0 else (1, 1, 2))


def _scalar(random: Random, field: FieldDescriptor, *, is_short: bool = False) -> Any:
    kind = field.cpp_type
    if kind == field.CPPTYPE_STRING:
        texts = _TEXTS if random.random() < 0.2 and not is_short else _SHORT_TEXTS
        return random.choice(_BYTES if field.type == field.TYPE_BYTES else texts)
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return random.choice(_FLOATS)
    if kind == field.CPPTYPE_BOOL:
        return random.random() < 0.5
    number = random.choice(_INTEGERS)
    if kind in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64):
        number = abs(number)
    is_long = kind in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64)
    if kind in (field.CPPTYPE_INT32, field.CPPTYPE_ENUM) or not is_long:
        number = number if -(2**31) <= number < 2**31 else number % 2**31
    return number


def _flip(random: Random, data: bytes) -> bytes:
    if not data:
        return random.randbytes(3)
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << random.randrange(8))]) + data[place + 1 :]


def _cut(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _drop(random: Random, data: bytes) -> bytes:
    place = random.randrange(len(data) + 1)
    return data[:place] + data[place + random.randrange(1, 9) :]


def _insert(random: Random, data: bytes) -> bytes:
    place = random.randrange(len(data) + 1)
    return data[:place] + random.randbytes(random.randrange(1, 9)) + data[place:]


def _double(random: Random, data: bytes) -> bytes:
    start = random.randrange(len(data) + 1)
    return data + data[start:]


def _append_unknown(random: Random, data: bytes) -> bytes:
    """A field that no message has, of every wire type: those of groups may stay open."""
    number = random.choice((99, 500, 18_999, 19_500, 2**29 - 1, 0))
    return (
        data + _varint(number << 3 | random.randrange(8)) + random.randbytes(random.randrange(20))
    )


def _append_varint(random: Random, data: bytes) -> bytes:
    return data + _varint(random.randrange(1, 30) << 3) + random.choice(_BIG_VARINTS)


def _append_lie(random: Random, data: bytes) -> bytes:
    """A field that says it is longer than what is left, up to far beyond any memory."""
    length = random.choice((5, 200, 2**20, 2**31 - 1, 2**31, 2**32, 2**62))
    return data + _varint(random.randrange(1, 30) << 3 | 2) + _varint(length) + random.randbytes(4)


def _append_bad_text(random: Random, data: bytes) -> bytes:
    bad = random.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"a\xf4\x90\x80\x80", b"\xe2\x82"))
    return data + _varint(random.randrange(1, 30) << 3 | 2) + _varint(len(bad)) + bad


def _append_nested(random: Random, data: bytes) -> bytes:
    """The request in itself: in a field of its own, many times over."""
    number = random.randrange(1, 30)
    inner = data[:500]
    for _ in range(random.choice((3, 99, 101, 400))):
        inner = _varint(number << 3 | 2) + _varint(len(inner)) + inner
    return data + inner


def _open_groups(random: Random, data: bytes) -> bytes:
    return data + _varint(random.randrange(1, 30) << 3 | 3) * random.choice((1, 90, 5000))


def _replace(random: Random, _data: bytes) -> bytes:
    return random.randbytes(random.choice((0, 1, 7, 40, 1000)))


_BYTE_CHANGES: Final[tuple[Callable[[Random, bytes], bytes], ...]] = (
    _flip, _flip, _cut, _drop, _insert, _double, _append_unknown, _append_varint, _append_lie,
    _append_bad_text, _append_nested, _open_groups, _replace,
)  # fmt: skip


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
