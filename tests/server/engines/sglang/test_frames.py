"""Frames between front and host."""

from __future__ import annotations

import asyncio
import enum
import socket
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from tokenwire.server.contract.engine import EngineRequest, SamplingParams
from tokenwire.server.contract.events import ChoiceFinished, EngineEvent, FinishReason, TextDelta
from tokenwire.server.contract.load_progress import LoadProgress
from tokenwire.server.contract.prompts import (
    ChatMessage,
    ChatPrompt,
    ImagePart,
    InfillPrompt,
    Prompt,
    RenderedPrompt,
    Role,
    TextPrompt,
    TokenPrompt,
)
from tokenwire.server.contract.token_ids import TokenIds
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
    Event,
    Generate,
    Loading,
    Render,
    Rendered,
)

DELTA = TextDelta("x", 1, (1,))


async def test_images_travel() -> None:
    """Parts of messages and images arrive as they were sent, before and after rendering."""
    message = ChatMessage(Role.USER, "ab", parts=("a", ImagePart(0), "b"))
    rendered = RenderedPrompt(TokenIds.of([1]), images=(b"\x89PNG",), num_image_tokens=4)
    render = Render(1, ChatPrompt((message,), images=(b"\x89PNG",)))
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    with theirs:
        theirs.sendall(encode_frame([render]) + encode_frame([Rendered(1, rendered)]))
        assert await read_frame(reader, COMMANDS) == [render]
        assert await read_frame(reader, REPORTS) == [Rendered(1, rendered)]
    writer.close()
    assert rendered.num_tokens == 5


async def test_one_turn_is_one_frame() -> None:
    """What one turn of the loop sends for all requests travels in one frame."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    other_reader, other = await asyncio.open_unix_connection(sock=theirs)
    frames = FrameWriter(other)
    messages = [
        Event("a", DELTA),
        Event("b", TextDelta("🌍", 2, (2, 3), choice=1)),
        Event("a", ChoiceFinished(FinishReason.STOP, "\n")),
        Event("b", ChoiceFinished(FinishReason.STOP, 17)),
        Loading(LoadProgress("loading", 0.5, "half of it")),
    ]
    for message in messages:
        frames.send(message)
    await asyncio.sleep(0)
    frames.send(Event("a", DELTA))
    assert await read_frame(reader, REPORTS) == messages
    assert await read_frame(reader, REPORTS) == [Event("a", DELTA)]
    for end in (writer, other):
        end.close()
        await end.wait_closed()
    assert other_reader.at_eof()


def example(kind: Any) -> Any:
    """A value of a type, no field of it left at its default."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind)
        return kind(*(example(hints[name]) for name in kind.__struct_fields__))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return list(kind)[-1]
    if get_origin(kind) is tuple:
        return (example(get_args(kind)[0]),) * 2
    simple = {int: 2**53, bool: True, float: -0.1, str: "🌍\0", bytes: b"\xf0\x9f"}
    return simple[next(each for each in (*get_args(kind), kind) if each in simple)]


@pytest.mark.parametrize("kind", get_args(EngineEvent))
async def test_every_event_survives_the_socket(kind: Any) -> None:
    """An event arrives as it was sent: a new one needs no more than its place in the union."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    _, other = await asyncio.open_unix_connection(sock=theirs)
    event = example(kind)
    FrameWriter(other).send(Event("a", event))
    (received,) = await read_frame(reader, REPORTS)
    assert received == Event("a", event)
    assert type(received.event) is kind
    for end in (writer, other):
        end.close()
        await end.wait_closed()


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
    prompts: list[Prompt] = [
        TextPrompt("a"),
        TokenPrompt(TokenIds.of((1, 2))),
        InfillPrompt("a", "b"),
        ChatPrompt((ChatMessage(Role.USER, "hi"),), {"deep": {"list": [1, None, True, 0.5]}}),
    ]
    assert {type(prompt) for prompt in prompts} == set(get_args(Prompt))
    messages = [
        Generate(
            EngineRequest(
                "0" * 32,
                RenderedPrompt(TokenIds.of((1, 2)), ("s",)),
                params,
                "salt",
                trace_headers=(("traceparent", "00-1"), ("tracestate", "a=b")),
            )
        ),
        *(Render(1, prompt) for prompt in prompts),
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
        encode_frame([Event("a", DELTA)]),
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


async def test_token_ids_travel_as_bytes() -> None:
    """A long prompt takes four bytes an id on the socket, and arrives unchanged."""
    ids = TokenIds.of(range(2**31, 2**31 + 10_000))
    messages = [Render(1, TokenPrompt(ids))]
    frame = encode_frame(messages)
    assert len(frame) < 4 * len(ids) + 100
    assert await read_from(frame) == messages
    rendered = [Rendered(1, RenderedPrompt(ids))]
    assert REPORTS.decode(encode_frame(rendered)[4:]) == rendered
