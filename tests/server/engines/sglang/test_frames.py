"""Frames between front and host."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tokenwire.server.contract.engine import (
    ChatMessage,
    ChatPrompt,
    EngineRequest,
    Finished,
    FinishReason,
    RenderedPrompt,
    Role,
    SamplingParams,
)
from tokenwire.server.engines.sglang.frames import (
    MAX_FRAME_BYTES,
    FrameError,
    FrameWriter,
    encode_frame,
    read_frame,
)
from tokenwire.server.engines.sglang.messages import (
    COMMANDS,
    REPORTS,
    Abort,
    AskStatus,
    Generate,
    GenerationFinished,
    RenderChat,
    Text,
)


async def test_one_turn_is_one_frame() -> None:
    """What one turn of the loop sends for all requests travels in one frame."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    other_reader, other = await asyncio.open_unix_connection(sock=theirs)
    frames = FrameWriter(other)
    messages = [
        Text("a", "x", (1,)),
        Text("b", "🌍", (2, 3)),
        GenerationFinished("a", Finished(FinishReason.STOP, 3, 1, "\n")),
        GenerationFinished("b", Finished(FinishReason.STOP, 3, 1, 17)),
    ]
    for message in messages:
        frames.send(message)
    await asyncio.sleep(0)
    frames.send(Text("a", "later", ()))
    assert await read_frame(reader, REPORTS) == messages
    assert await read_frame(reader, REPORTS) == [Text("a", "later", ())]
    for end in (writer, other):
        end.close()
        await end.wait_closed()
    assert other_reader.at_eof()


async def read_from(data: bytes) -> object:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await read_frame(reader, COMMANDS)


async def test_commands_survive_the_socket() -> None:
    """Requests arrive as they were sent, with every value and its type."""
    params = SamplingParams(
        0.5, 0.9, 7, seed=2**32 - 1, stop=("a", "é"), stop_token_ids=(1,), logit_bias={5: -1.0}
    )
    chat = ChatPrompt((ChatMessage(Role.USER, "hi"),), {"deep": {"list": [1, None, True, 0.5]}})
    messages = [
        Generate(EngineRequest("0" * 32, RenderedPrompt((1, 2), ("s",)), params, "salt")),
        RenderChat(1, chat),
        Abort("0" * 32),
        AskStatus(2),
    ]
    assert await read_from(encode_frame(messages)) == messages


@pytest.mark.parametrize(
    "data",
    [
        (MAX_FRAME_BYTES + 1).to_bytes(4, "big"),
        b"\0\0\0\x01\xc1",
        b"\0\0\0\x02\x91\x01",
        encode_frame([Text("a", "x", ())]),
    ],
    ids=["too long", "no msgpack", "no message", "not a command"],
)
async def test_foreign_frame(data: bytes) -> None:
    """What is no frame of this end's language is told as such."""
    with pytest.raises(FrameError):
        await read_from(data)


async def test_cut_frame() -> None:
    """A frame that ends too early is the end of the other side."""
    with pytest.raises(asyncio.IncompleteReadError):
        await read_from(encode_frame([AskStatus(1)])[:-1])
