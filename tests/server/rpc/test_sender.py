"""What one caller is written, and when."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import pytest
from tokenwire.generated.tokenwire.v1 import events_pb2, inference_pb2
from tokenwire.server.contract.errors import EngineLost
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Delta,
    FinishReason,
    Prefill,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
)
from tokenwire.server.request.calls import CallFinished, CallStarted, Decoding, Queued, Restarting
from tokenwire.server.request.log.request_log import RequestLog
from tokenwire.server.rpc.codecs.event_codec import add_delta
from tokenwire.server.rpc.sender import Sender

from ..fronts import (
    start_front,
)
from ..scripted_engine import ScriptedEngine, ScriptedLauncher

STARTED = CallStarted("r", "m", "", 1, 0, 5, None)
FINISHED = CallFinished(FinishReason.EOS, 1, 0, 2, 0, 0.0, 0.1, 0.1, 0.2)
END = ChoiceFinished(FinishReason.EOS)


async def test_slow_reader_gets_everything_in_few_messages() -> None:
    """What is generated while a write waits for its reader arrives whole, in one message."""
    wire, log = Wire(), RequestLog()
    writing, may_go_on = asyncio.Event(), asyncio.Event()
    write = wire.write

    async def write_slowly(message: Any) -> None:
        writing.set()
        await may_go_on.wait()
        await write(message)

    wire.write = write_slowly  # type: ignore[method-assign]
    with log.read() as reader:
        async with asyncio.timeout(45), asyncio.TaskGroup() as tasks:
            tasks.create_task(sender_on(wire).send_deltas(reader))
            log.append(STARTED)
            await writing.wait()
            for number in range(1_000):
                log.append(TextDelta(f"{number} ", 1))
            for event in (END, FINISHED):
                log.append(event)
            log.close()
            may_go_on.set()
    messages = wire.sent[1:]
    assert [message.WhichOneof("event") for message in messages] == [
        "started",
        "deltas",
        "finished",
    ]
    text, end = messages[1].deltas.deltas
    assert text.text.text == "".join(f"{number} " for number in range(1_000))
    assert end.HasField("finished")
    assert messages[1].position == 1_001


async def test_pieces_one_by_one_say_what_they_say() -> None:
    """Nothing of one piece of text is left in the message of the next."""
    logprob = TokenLogprob(5, -0.5, b"c")
    deltas: list[Delta] = [
        TextDelta("a", 1, choice=2),
        TextDelta("b", 1),
        TextDelta("c", 1, logprobs=(logprob,)),
        ReasoningDelta("d", 1),
        TextDelta("e", 1, choice=1),
        TextDelta("f", 1),
    ]
    wire, log = Wire(), RequestLog()
    written: asyncio.Queue[None] = asyncio.Queue()
    write = wire.write

    async def write_and_tell(message: Any) -> None:
        await write(message)
        written.put_nowait(None)

    wire.write = write_and_tell  # type: ignore[method-assign]
    with log.read() as reader:
        async with asyncio.timeout(45), asyncio.TaskGroup() as tasks:
            tasks.create_task(sender_on(wire).send_deltas(reader))
            for event in (STARTED, *deltas):
                log.append(event)
                await written.get()
            log.close()
    for position, (message, delta) in enumerate(zip(wire.sent[2:], deltas, strict=True), start=1):
        assert message.position == position
        alone = events_pb2.Deltas()
        add_delta(alone, delta, with_token_ids=False)
        assert message.deltas == alone


async def test_token_ids_are_sent_on_request_only() -> None:
    """Token ids travel where the request asks for them, and not otherwise."""
    engine = ScriptedEngine()
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("go", delivery=events_pb2.DELIVERY_FINAL)
        request.sampling.max_tokens = 3
        plain = await client.unary()(request)
        request.return_token_ids = True
        with_ids = await client.unary()(request)
    assert list(plain.finished.choices[0].token_ids) == []
    assert list(with_ids.finished.choices[0].token_ids) == [0, 1, 2]


class Wire:
    """Stands for a call's context: keeps what is written, and when metadata was sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def send_initial_metadata(self, metadata: Any) -> None:
        self.sent.append(metadata)

    async def write(self, message: Any) -> None:
        # What it is now, as gRPC, which makes bytes of it at once: the sender fills it anew.
        self.sent.append(copy.deepcopy(message))


def sender_on(wire: Wire, *, wants_progress: bool = False) -> Sender:
    context: Any = wire
    return Sender(
        context,
        inference_pb2.ChatResponse,
        "call-1",
        wants_progress=wants_progress,
        wants_token_ids=False,
    )


async def test_metadata_waits_for_the_first_event() -> None:
    """A call that fails before its first event sends trailers alone, which clients may retry."""
    wire, log = Wire(), RequestLog()
    log.close(EngineLost())
    with log.read() as reader, pytest.raises(EngineLost):
        await sender_on(wire).send_deltas(reader)
    assert wire.sent == []


@pytest.mark.parametrize("is_final", [True, False])
async def test_end_is_sent_last(is_final: bool) -> None:
    """The sender ends where the call does, in both ways to deliver it, metadata sent first."""
    wire, log = Wire(), RequestLog()
    for event in (STARTED, TextDelta("a", 1), END, FINISHED):
        log.append(event)
    log.close()
    sender = sender_on(wire)
    with log.read() as reader:
        await (sender.send_final if is_final else sender.send_deltas)(reader)
    assert wire.sent[0] == (("x-request-id", "call-1"),)
    assert wire.sent[-1].WhichOneof("event") == "finished"
    assert wire.sent[-1].finished.usage.num_completion_tokens == 2


async def test_error_comes_behind_what_was_said() -> None:
    """A stream tells what was generated before a failure; a whole answer fails as a whole."""
    wire, log = Wire(), RequestLog()
    log.append(STARTED)
    log.append(TextDelta("a", 1))
    log.close(EngineLost())
    with log.read() as final, log.read() as deltas:
        with pytest.raises(EngineLost):
            await sender_on(wire).send_final(final)
        assert wire.sent == []
        with pytest.raises(EngineLost):
            await sender_on(wire).send_deltas(deltas)
    assert wire.sent[-1].deltas.deltas[0].text.text == "a"


async def test_positions_never_decrease() -> None:
    """What comes before the deltas of a message has the position of those that went before."""
    wire, log = Wire(), RequestLog()
    sender = sender_on(wire, wants_progress=True)
    with log.read() as reader:
        # A caller who takes all of this at once.
        for event in (Queued(1, None), STARTED, Prefill(1, 2), *[TextDelta("a", 1)] * 3, END):
            log.append(event)
        log.append(FINISHED)
        log.close()
        await sender.send_deltas(reader)
    assert [(each.WhichOneof("event"), each.position) for each in wire.sent[1:]] == [
        ("progress", 0),
        ("started", 0),
        ("deltas", 4),
        ("finished", 4),
    ]


@pytest.mark.parametrize("nothing", [TextDelta("", 1), ReasoningDelta("", 1)])
async def test_piece_that_says_nothing_is_not_sent(nothing: Delta) -> None:
    """Tokens that are no whole character yet cost no message; positions count them."""
    wire, log = Wire(), RequestLog()
    log.append(STARTED)
    log.append(nothing)
    with log.read() as reader:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sender_on(wire).send_deltas(reader))
            await written(wire, lambda: wire.sent[-1].HasField("started"))
            log.append(nothing)
            log.append(END)
            log.append(FINISHED)
            log.close()
    assert [(each.WhichOneof("event"), each.position) for each in wire.sent[2:]] == [
        ("deltas", 3),
        ("finished", 3),
    ]
    (delta,) = wire.sent[2].deltas.deltas
    assert delta.WhichOneof("kind") == "finished"


async def test_silence_is_filled_with_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who asked for progress hears of it while nothing else flows."""
    monkeypatch.setattr("tokenwire.server.rpc.sender.PROGRESS_INTERVAL_S", 0.01)
    wire, log = Wire(), RequestLog()
    log.append(Queued(2, None))
    with log.read() as reader:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(sender_on(wire, wants_progress=True).send_deltas(reader))
            await written(
                wire, lambda: [each.progress.queued.place for each in wire.sent[1:]] == [2, 2]
            )
            log.append(STARTED)
            log.append(TextDelta("a", 3))
            await written(wire, lambda: wire.sent[-1].progress.decode.num_completion_tokens == 3)
            log.append(Restarting(1))
            await written(
                wire,
                lambda: (
                    [each.progress.restarting.num_engines_lost for each in wire.sent[-3:]]
                    == [1] * 3
                ),
            )
            log.append(Decoding(3))
            await written(
                wire,
                lambda: [each.progress.HasField("decode") for each in wire.sent[-3:]] == [True] * 3,
            )
            log.append(FINISHED)
            log.close()


async def written(wire: Wire, is_reached: Callable[[], bool]) -> None:
    """Waits until what was written makes `is_reached` true."""
    reached = asyncio.Event()
    write = wire.write

    async def watched(message: Any) -> None:
        await write(message)
        if is_reached():
            reached.set()

    wire.write = watched  # type: ignore[method-assign]
    async with asyncio.timeout(45):
        await reached.wait()
    wire.write = write  # type: ignore[method-assign]
