"""HTTP/2 connections that are nearly right: frames that lie, in orders that no client sends."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random
from typing import Final

from .raw_http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    call_head,
    frame,
    header,
)

PRIORITY, PUSH_PROMISE, WINDOW_UPDATE = 2, 5, 8
PADDED, PRIORITISED = 8, 0x20
_PATHS: Final = (
    "/tokenwire.v1.InferenceService/Generate",
    "/tokenwire.v1.InferenceService/Chat",
    "/tokenwire.v1.InferenceService/ListModels",
    "/tokenwire.v1.TokenizerService/CountTokens",
    "/grpc.health.v1.Health/Watch",
    "/grpc.health.v1.Health/Check",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/nothing", "", "*", "//", "/" + "a" * 9000, "/tokenwire.v1.InferenceService/Chat\0",
)  # fmt: skip
_ODD_PAIRS: Final = (
    (":path", "/twice"), (":status", "200"), (":method", "GET"), (":scheme", "ftp"), ("te", "gzip"),
    ("content-type", "text/plain"), ("content-type", "application/grpc+json"), ("host", "a b"),
    ("grpc-timeout", "1n"), ("grpc-timeout", "-1S"), ("grpc-timeout", "99999999999H"),
    ("grpc-timeout", ""), ("grpc-encoding", "gzip"), ("grpc-encoding", "xyz"), ("X-Upper", "a"),
    ("grpc-accept-encoding", "identity,zzz"), ("connection", "close"), ("transfer-encoding", "x"),
    ("x-request-id", "\0"), ("x-request-id", "a" * 300), ("x-bin", "!!"), ("x-odd-bin", "%%%"),
    ("authorization", "Bearer \x7f"), ("content-length", "3"), ("", "x"), ("x y", "z"),
    ("cookie", "a" * 20_000), (":authority", "[::1"), ("grpc-previous-rpc-attempts", "-1"),
)  # fmt: skip
_SETTINGS: Final = (1, 2, 3, 4, 5, 6, 0xFE03, 0xFFFF)
_NUMBERS: Final = (0, 1, 2, 100, 2**14, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)

_Frame = tuple[int, int, int, bytes]
"""Kind, flags, stream, payload."""


def write_connection(random: Random, message: bytes) -> bytes:
    """Returns what a client writes on a connection: its preface, a call or two, and changes."""
    frames: list[_Frame] = [(SETTINGS, 0, 0, _settings(random))]
    for number in range(random.choice((1, 1, 2, 4))):
        frames += _call(random, 2 * number + 1, message)
    for _ in range(random.choice((0, 1, 1, 2, 5))):
        random.choice(_CHANGES)(random, frames)
    parts = [PREFACE]
    for kind, flags, stream, payload in frames:
        data = frame(kind, flags, stream, payload)
        if random.random() < 0.03:
            data = struct.pack(">I", random.choice(_NUMBERS) & 0xFFFFFF)[1:] + data[3:]
        parts.append(data)
    whole = b"".join(parts)
    if random.random() < 0.1:
        place = random.randrange(len(whole))
        whole = (
            whole[:place] + bytes([whole[place] ^ 1 << random.randrange(8)]) + whole[place + 1 :]
        )
    if random.random() < 0.1:
        whole = whole[: random.randrange(len(whole))]
    return whole


def _call(random: Random, stream: int, message: bytes) -> list[_Frame]:
    block = call_head(random.choice(_PATHS[:7] if random.random() < 0.8 else _PATHS))
    for _ in range(random.choice((0, 0, 0, 1, 3))):
        block += header(*random.choice(_ODD_PAIRS))
    body = _body(random, message)
    frames: list[_Frame] = [(HEADERS, END_HEADERS, stream, block)]
    cut = random.randrange(len(body) + 1) if random.random() < 0.3 else len(body)
    frames.append((DATA, 0, stream, body[:cut]))
    frames.append((DATA, END_STREAM, stream, body[cut:]))
    return frames


def _body(random: Random, message: bytes) -> bytes:
    """A message behind its prefix, which may lie about its length or its packing."""
    flag, length = 0, len(message)
    kind = random.random()
    if kind < 0.15:
        flag = random.choice((1, 2, 7, 255))
    elif kind < 0.35:
        length = random.choice((0, 1, length + 1, length + 10_000, 2**31 - 1, 2**32 - 1))
    elif kind < 0.4:
        return message
    whole = bytes([flag]) + struct.pack(">I", length) + message
    return whole * random.choice((1, 1, 1, 2, 30))


def _settings(random: Random) -> bytes:
    if random.random() < 0.7:
        return b""
    pairs = [
        struct.pack(">HI", random.choice(_SETTINGS), random.choice(_NUMBERS))
        for _ in range(random.choice((1, 3, 40)))
    ]
    return b"".join(pairs)[: random.choice((6 * 40, 6 * 40, 7))]


def _place(random: Random, frames: list[_Frame]) -> int:
    return random.randrange(len(frames) + 1)


def _drop(random: Random, frames: list[_Frame]) -> None:
    if len(frames) > 1:
        del frames[random.randrange(len(frames))]


def _double(random: Random, frames: list[_Frame]) -> None:
    frames.insert(_place(random, frames), random.choice(frames))


def _swap(random: Random, frames: list[_Frame]) -> None:
    one, other = random.randrange(len(frames)), random.randrange(len(frames))
    frames[one], frames[other] = frames[other], frames[one]


def _change_head(random: Random, frames: list[_Frame]) -> None:
    at = random.randrange(len(frames))
    kind, flags, stream, payload = frames[at]
    part = random.randrange(3)
    if part == 0:
        kind = random.choice((*range(11), 0x20, 255))
    elif part == 1:
        flags = random.choice((0, END_STREAM, END_HEADERS, PADDED, PRIORITISED, 0x2D, 255))
    else:
        stream = random.choice((0, 1, 2, 3, 5, 7, 2**31 - 1, 2**31 + 1))
    frames[at] = (kind, flags, stream, payload)


def _change_payload(random: Random, frames: list[_Frame]) -> None:
    at = random.randrange(len(frames))
    kind, flags, stream, payload = frames[at]
    cut = random.randrange(len(payload) + 1)
    payload = random.choice(
        (payload[:cut], payload + random.randbytes(20), random.randbytes(40), b"", payload * 3)
    )
    frames[at] = (kind, flags, stream, payload[: 2**14])


def _split_head(random: Random, frames: list[_Frame]) -> None:
    """Headers go on in other frames, perhaps of another stream, perhaps without an end."""
    heads = [at for at, each in enumerate(frames) if each[0] == HEADERS]
    if not heads:
        return
    at = random.choice(heads)
    _, flags, stream, block = frames[at]
    size = random.choice((1, 20, 100))
    pieces = [block[start : start + size] for start in range(0, len(block), size)][:200] or [b""]
    end = END_HEADERS if random.random() < 0.8 else 0
    other = stream if random.random() < 0.9 else stream + 2
    frames[at : at + 1] = [
        (HEADERS, flags & ~END_HEADERS, stream, pieces[0]),
        *((CONTINUATION, 0, other, piece) for piece in pieces[1:]),
        (CONTINUATION, end, other, b""),
    ]


def _insert(random: Random, frames: list[_Frame]) -> None:
    stream = random.choice((0, 1, 3, 9))
    number = struct.pack(">I", random.choice(_NUMBERS))
    kind = random.choice(
        (
            RST_STREAM,
            WINDOW_UPDATE,
            PING,
            GOAWAY,
            PRIORITY,
            PUSH_PROMISE,
            SETTINGS,
            CONTINUATION,
            77,
        )
    )
    payload = {
        RST_STREAM: number,
        WINDOW_UPDATE: number,
        PING: random.randbytes(8),
        GOAWAY: number * 2 + b"why",
        PRIORITY: number + b"\x10",
        SETTINGS: _settings(random),
    }.get(kind, random.randbytes(random.choice((0, 1, 9, 100))))
    many = random.choice((1, 1, 1, 50))
    at = _place(random, frames)
    frames[at:at] = [(kind, random.choice((0, 0, 1)), stream, payload)] * many


def _pad(random: Random, frames: list[_Frame]) -> None:
    at = random.randrange(len(frames))
    kind, flags, stream, payload = frames[at]
    frames[at] = (kind, flags | PADDED, stream, bytes([random.randrange(256)]) + payload + bytes(9))


_CHANGES: Final[tuple[Callable[[Random, list[_Frame]], None], ...]] = (
    _drop, _double, _swap, _change_head, _change_payload, _split_head, _insert, _insert, _pad,
)  # fmt: skip
