"""Stop strings, streams of events and frames, without an engine."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tokenwire.server.contract.engine import (
    Delta,
    EngineRequest,
    Finished,
    FinishReason,
    RenderedPrompt,
    SamplingParams,
    Started,
)
from tokenwire.server.contract.errors import EngineLost
from tokenwire.server.engines.sglang.frames import (
    COMMANDS,
    MAX_FRAME_BYTES,
    REPORTS,
    Abort,
    AskStatus,
    FrameError,
    FrameWriter,
    Generate,
    GenerationFinished,
    RenderChat,
    Text,
    encode_frame,
    read_frame,
)
from tokenwire.server.engines.sglang.front.event_stream import EventStream
from tokenwire.server.engines.sglang.front.host_process import Complaints

END = Finished(FinishReason.EOS, 3, 0)


async def test_stream_in_order() -> None:
    """Acceptance, text, end."""
    stream = EventStream()
    stream.accept(Started(4))
    stream.append("a", (1,))
    stream.append("b", (2, 3))
    stream.end(END)
    assert [await stream.take() for _ in range(3)] == [
        Started(4),
        Delta("ab", 3, (1, 2, 3)),
        END,
    ]


async def test_stream_waits_for_news() -> None:
    """A reader who has taken everything waits for the next piece."""
    stream = EventStream()
    stream.append("a", (1,))
    assert await stream.take() == Delta("a", 1, (1,))
    waiting = asyncio.create_task(stream.take(), name="reader")
    await asyncio.sleep(0)
    assert not waiting.done()
    stream.append("b", (2,))
    assert await waiting == Delta("b", 1, (2,))


async def test_stream_failure_comes_at_once() -> None:
    """A dead engine is told before the text that still waits, and its first word stays."""
    stream = EventStream()
    stream.append("a", (1,))
    stream.end(EngineLost())
    stream.end(END)
    with pytest.raises(EngineLost):
        await stream.take()


async def test_one_turn_is_one_frame() -> None:
    """What one turn of the loop sends for all requests travels in one frame."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    other_reader, other = await asyncio.open_unix_connection(sock=theirs)
    frames = FrameWriter(other)
    messages = [
        Text("a", "x", (1,)),
        Text("b", "🌍", (2, 3)),
        GenerationFinished("a", FinishReason.STOP, 3, 1, "\n"),
        GenerationFinished("b", FinishReason.STOP, 3, 1, 17),
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
    messages = [
        Generate(EngineRequest("0" * 32, RenderedPrompt((1, 2), ("s",)), params, "salt")),
        RenderChat(1, (("user", "hi"),), {"deep": {"list": [1, None, True, 0.5]}}),
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


def test_complaints_tell_the_cause() -> None:
    """Of many lines the last that names an error is told, however the pipe cuts them."""
    complaints = Complaints()
    for piece in (
        b"loading\nTraceback:\n  Val",
        b"ueError: no such ",
        b"tensor\nChildDied: a process",
    ):
        complaints.feed(piece)
    assert complaints.telling_line() == "ValueError: no such tensor"
    assert complaints.telling_line(beside="x: ValueError: no such tensor") is None


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        (
            "ValueError: model type `x` is not known.\n\nYou can update it with the command",
            "SGLang cannot load the model: ValueError: model type `x` is not known.",
        ),
        (
            "ChildDied: a process died",
            "SGLang cannot load the model: RuntimeError: 'XForCausalLM' is not supported",
        ),
        (
            "the engine's host ended\nwhile it loaded",
            "the engine's host ended while it loaded (RuntimeError: 'XForCausalLM' is not "
            "supported)",
        ),
    ],
)
def test_failed_load_is_one_line(what: str, sentence: str) -> None:
    """A failed load is told in one line, with the cause and without advice on packages."""
    complaints = Complaints()
    complaints.feed(b"INFO loading\nRuntimeError: 'XForCausalLM' is not supported\n")
    assert complaints.explain(what) == sentence


def test_complaints_are_bounded() -> None:
    """A process that writes without end costs no memory without end."""
    complaints = Complaints()
    for _ in range(1000):
        complaints.feed(b"x" * 10_000)
    complaints.feed(b"\nOSError: full\n")
    assert complaints.telling_line() == "OSError: full"
