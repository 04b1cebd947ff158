"""The private language of front and host: what is said, and how it lies on the socket.

A frame is four bytes of length, big endian, and a msgpack list of messages: what one turn of a
loop produced for all requests travels together.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from ...contract.engine import EngineRequest, EngineStatus, FinishReason, ModelInfo

MAX_FRAME_BYTES: Final = 256 << 20
"""Far above what requests and answers need: a longer frame means that the two ends disagree."""

_LENGTH: Final = struct.Struct(">I")


class FrameError(Exception):
    """The other end sent what is no frame."""


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """One thing said."""


# Front to host.


class Begin(Message, frozen=True):
    """Load this model. Said once, first.

    `server_args` are keyword arguments of SGLang's `ServerArgs`; `extra_args` words of its command
    line, which win over them. `weight_quantization` is the value of a `WeightQuantization`.
    `has_kv_cache_scales` says whether there are scales for a KV cache, should it be in FP8.
    """

    server_args: dict[str, Any]  # whatever ServerArgs takes
    on_cpu: bool
    model_format: str
    extra_args: tuple[str, ...] = ()
    weight_quantization: str = "none"
    has_kv_cache_scales: bool = False
    lora_adapters: tuple[str, ...] = ()


class RenderText(Message, frozen=True):
    """Tokenise a text."""

    call: int
    text: str


class RenderTokens(Message, frozen=True):
    """Check token ids."""

    call: int
    token_ids: tuple[int, ...]


class RenderInfill(Message, frozen=True):
    """Arrange a text with a gap."""

    call: int
    prefix: str
    suffix: str


class RenderChat(Message, frozen=True):
    """Apply the chat template. `messages` are pairs of role and content."""

    call: int
    messages: tuple[tuple[str, str], ...]
    template_arguments: dict[str, Any]  # JSON values of the caller, for the template alone


class Generate(Message, frozen=True):
    """Start a generation."""

    request: EngineRequest


class Abort(Message, frozen=True):
    """Drop a generation. `Released` follows, as after every end."""

    request_id: str


class AskStatus(Message, frozen=True):
    """Tell the scheduler's load."""

    call: int


# Host to front.


class Loading(Message, frozen=True):
    """A step of loading."""

    step: str
    fraction: float | None


class Ready(Message, frozen=True):
    """The model is loaded and has answered once. Each copy has `num_pool_tokens` of KV cache."""

    info: ModelInfo
    num_pool_tokens: int


class LoadFailed(Message, frozen=True):
    """The model cannot be loaded."""

    message: str


class Rendered(Message, frozen=True):
    """A prompt as token ids."""

    call: int
    token_ids: tuple[int, ...]
    stop: tuple[str, ...]


class Refused(Message, frozen=True):
    """A prompt that cannot be rendered, with the field at fault."""

    call: int
    field: str
    description: str


class Broken(Message, frozen=True):
    """A call failed for a reason that is not the caller's."""

    call: int
    description: str


class StatusTold(Message, frozen=True):
    """The scheduler's load."""

    call: int
    status: EngineStatus


class GenerationStarted(Message, frozen=True):
    """The scheduler ran the prompt: the first delta follows."""

    request_id: str
    num_cached_prompt_tokens: int


class Text(Message, frozen=True):
    """Text to append and the ids of its tokens."""

    request_id: str
    text: str
    token_ids: tuple[int, ...]


class GenerationFinished(Message, frozen=True):
    """The good end of a generation."""

    request_id: str
    reason: FinishReason
    num_completion_tokens: int
    num_cached_prompt_tokens: int
    matched: str | int | None


class Failed(Message, frozen=True):
    """The bad end of a generation."""

    request_id: str
    description: str


class Released(Message, frozen=True):
    """The scheduler holds nothing of the request any more. The last word on it."""

    request_id: str


class EngineDead(Message, frozen=True):
    """A process of the engine died: nothing more will come."""

    description: str


Command = (
    Begin | RenderText | RenderTokens | RenderInfill | RenderChat | Generate | Abort | AskStatus
)
Report = (
    Loading
    | Ready
    | LoadFailed
    | Rendered
    | Refused
    | Broken
    | StatusTold
    | GenerationStarted
    | Text
    | GenerationFinished
    | Failed
    | Released
    | EngineDead
)

COMMANDS: Final = msgspec.msgpack.Decoder(list[Command])
REPORTS: Final = msgspec.msgpack.Decoder(list[Report])

MessageT = TypeVar("MessageT")


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

    def receive(count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = peer.recv(count - len(data))
            if not piece:
                raise FrameError("the other end is gone")
            data += piece
        return data

    (length,) = _LENGTH.unpack(receive(_LENGTH.size))
    return decoder.decode(receive(length))


class FrameWriter:
    """Sends messages, those of one turn of the loop in one frame."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._pending: list[Message] = []

    def send(self, message: Message) -> None:
        """Queues a message and never waits.

        The other end always reads and merges what it cannot use yet, so what queues here is
        bounded by what the scheduler can produce.
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
