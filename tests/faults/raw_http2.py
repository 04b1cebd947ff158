"""HTTP/2 by hand, for what no library sends: frames as they are written in RFC 9113."""

from __future__ import annotations

import asyncio
import contextlib
import struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Writes one frame."""
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack(">I", stream)
        + payload
    )


def header(name: str, value: str) -> bytes:
    """Writes one header as RFC 7541 has it: a literal that enters no table."""
    return b"\x00" + _text(name) + _text(value)


def call_head(path: str, *more: tuple[str, str]) -> bytes:
    """Writes the headers of a gRPC call."""
    pairs = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        *more,
    ]
    return b"".join(header(*pair) for pair in pairs)


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, size = len(data) - 127, bytearray([127])
    while rest >= 128:
        size.append(rest % 128 + 128)
        rest //= 128
    size.append(rest)
    return bytes(size) + data


class Connection:
    """One connection; frames of the server are read as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @staticmethod
    async def open(port: int) -> Connection:
        """Connects and shakes hands."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(PREFACE + frame(SETTINGS, 0, 0))
        return Connection(reader, writer)

    async def send(self, *frames: bytes) -> None:
        """Sends frames; a server that has hung up is no failure."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(b"".join(frames))
            await self.writer.drain()

    async def read_frame(self) -> tuple[int, int, int, bytes] | None:
        """Reads one frame: kind, flags, stream, payload; None at the end."""
        try:
            head = await self._reader.readexactly(9)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    async def end_of(self, stream: int) -> tuple[bytes, bool]:
        """Reads until a stream, or the connection, ends; its data, and whether all is over."""
        data = b""
        while (read := await self.read_frame()) is not None:
            kind, flags, at, payload = read
            if kind == GOAWAY:
                return data, True
            if kind == PING and not flags:
                await self.send(frame(PING, 1, 0, payload))
            if at != stream:
                continue
            if kind == DATA:
                data += payload
            if kind == RST_STREAM or (flags & END_STREAM and kind in (DATA, HEADERS)):
                return data, False
        return data, True

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hangs up."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
