"""How messages of front and host lie on the socket.

A frame is four bytes of length, big endian, and a msgpack list of messages: what one turn of a
loop produced for all requests travels together.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from .messages import Message

MAX_FRAME_BYTES: Final = 256 << 20
"""Far above what requests and answers need: a longer frame means that the two ends disagree."""

_LENGTH: Final = struct.Struct(">I")

MessageT = TypeVar("MessageT")


class FrameError(Exception):
    """The other end sent what is no frame."""


def encode_frame(messages: Sequence[Message]) -> bytes:
    """Packs messages into one frame."""
    body = msgspec.msgpack.encode(messages)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(body)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(body)) + body


async def read_frame(
    reader: asyncio.StreamReader, decoder: msgspec.msgpack.Decoder[list[MessageT]]
) -> list[MessageT]:
    """Reads one frame; the caller decides how long to wait.

    Raises:
        asyncio.IncompleteReadError: the other end is gone.
        FrameError: too long, or not what `decoder` understands.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {length} bytes is over the limit of {MAX_FRAME_BYTES}")
    try:
        return decoder.decode(await reader.readexactly(length))
    except msgspec.MsgspecError as error:
        raise FrameError(str(error)) from error


def receive_frame(
    peer: socket.socket, decoder: msgspec.msgpack.Decoder[list[MessageT]]
) -> list[MessageT]:
    """Reads one frame from a blocking socket, for the time before a loop runs."""
    (length,) = _LENGTH.unpack(peer.recv(_LENGTH.size, socket.MSG_WAITALL))
    return decoder.decode(peer.recv(length, socket.MSG_WAITALL))


class FrameWriter:
    """Sends messages, those of one turn of the loop in one frame."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._pending: list[Message] = []

    def send(self, message: Message) -> None:
        """Queues a message and never waits.

        The other end always reads, whoever waits for what it reads: what queues here is bounded by
        what the scheduler can produce.
        """
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(message)

    async def drain(self) -> None:
        """Waits until all that was sent is with the other end."""
        self._flush()
        await self._writer.drain()

    def _flush(self) -> None:
        if not self._pending:
            return
        messages, self._pending = self._pending, []
        if not self._writer.is_closing():
            self._writer.write(encode_frame(messages))
