"""Clients whose connections are cut, before a real front: nothing lost, and nothing told twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from tokenwire.client import (
    Answer,
    AsyncClient,
    AsyncStream,
    Client,
    Finished,
    ServerError,
    Started,
    StreamLost,
    TextDelta,
    Unavailable,
)
from tokenwire.generated.tokenwire.v1 import events_pb2
from tokenwire.server.contract.errors import GenerationFailed

from ..cutting_proxy import NEVER, CuttingProxy, pace
from ..server.fronts import Client as Front
from ..server.fronts import start_front
from ..server.scripted_engine import MODEL_ID, ScriptedEngine, ScriptedLauncher

GUARD_S = 60
NUM_TOKENS = 40
WHOLE = "".join(f"{number} " for number in range(NUM_TOKENS))
ASK: dict[str, Any] = {"max_tokens": NUM_TOKENS, "temperature": 0}


@dataclass
class Stand:
    """A front, a proxy before it, and how both are reached."""

    front: Front
    engine: ScriptedEngine
    proxy: CuttingProxy

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.proxy.port}"

    def client(self, **options: Any) -> AsyncClient:
        return AsyncClient(self.target, model=MODEL_ID, **options)


@asynccontextmanager
async def standing(cuts: Iterator[int] | None = None) -> AsyncGenerator[Stand]:
    """Starts them; each connection is cut behind the next number of bytes."""
    engine = ScriptedEngine(context_length=10_000)
    async with asyncio.timeout(GUARD_S), start_front(ScriptedLauncher(engine).prepare) as front:
        cuts = cuts or iter(())
        proxy = CuttingProxy(front.app.port, lambda: next(cuts, NEVER))
        async with proxy.running():
            yield Stand(front, engine, proxy)


def cuts_behind(seed: int, count: int) -> Iterator[int]:
    """Cuts behind the handshake and the first message, so that each call gets further."""
    chance = random.Random(seed)
    return iter([chance.randrange(400, 900) for _ in range(count)])


async def read(stream: AsyncStream, word: str, do: Callable[[], None]) -> None:
    """Reads a stream, and does something once a word has come."""
    async for event in stream:
        if isinstance(event, TextDelta) and word in event.text:
            do()


def check(events: list[Any]) -> None:
    """Checks that a stream is one whole answer, whatever happened to its connections."""
    assert isinstance(events[0], Started)
    assert sum(isinstance(event, Started) for event in events) == 1
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.num_completion_tokens == NUM_TOKENS
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == WHOLE


async def test_stream_goes_on_over_cut_connections() -> None:
    """Whatever byte a connection is cut behind, the events are those of an undisturbed stream."""
    async with standing(cuts_behind(1, 4)) as stand, stand.client() as client:
        pacing = asyncio.create_task(pace(stand.engine, stand.proxy, NUM_TOKENS))
        check([event async for event in client.chat("go", **ASK)])
        pacing.cancel()
    assert stand.proxy.num_cuts >= 1
    assert len(stand.engine.requests) == 1


def test_threads_resume_as_well() -> None:
    """The client for threads does the same."""

    async def run() -> tuple[list[Any], Stand]:
        async with standing(cuts_behind(2, 4)) as stand:

            def read() -> list[Any]:
                with Client(stand.target, model=MODEL_ID) as client:
                    return list(client.generate("go", **ASK))

            pacing = asyncio.create_task(pace(stand.engine, stand.proxy, NUM_TOKENS))
            events = await asyncio.to_thread(read)
            pacing.cancel()
        return events, stand

    events, stand = asyncio.run(run())
    check(events)
    assert stand.proxy.num_cuts >= 1
    assert len(stand.engine.requests) == 1


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_hundred_cuts_over_one_answer() -> None:
    """The same with cuts at a hundred bytes, some of them in the middle of a handshake."""
    chance = random.Random(3)
    cuts = iter([chance.randrange(20 if n % 10 == 0 else 300, 900) for n in range(100)])
    engine = ScriptedEngine(context_length=10_000)
    num_tokens = 2_000
    async with start_front(ScriptedLauncher(engine).prepare) as front:
        proxy = CuttingProxy(front.app.port, lambda: next(cuts, NEVER))
        async with (
            proxy.running(),
            AsyncClient(f"127.0.0.1:{proxy.port}", model=MODEL_ID) as client,
        ):
            pacing = asyncio.create_task(pace(engine, proxy, num_tokens))
            text = ""
            async for event in client.chat("go", max_tokens=num_tokens):
                if isinstance(event, TextDelta):
                    text += event.text
            pacing.cancel()
    assert proxy.num_connections > 20
    assert text == "".join(f"{number} " for number in range(num_tokens))
    assert len(engine.requests) == 1


async def test_one_message_is_resumed() -> None:
    """With delivery FINAL, too: a long wait for one message outlives its connection."""
    async with standing() as stand, stand.client() as client:
        asked = asyncio.create_task(
            anext(aiter(client.chat("go", delivery=events_pb2.DELIVERY_FINAL, **ASK)))
        )
        await stand.engine.wait_until(running=1)
        stand.proxy.cut_all()
        stand.engine.allow(NUM_TOKENS)
        event = await asked
    assert isinstance(event, Finished)
    assert event.usage.num_completion_tokens == NUM_TOKENS
    assert len(stand.engine.requests) == 1


async def test_leaving_ends_the_request_at_once() -> None:
    """Who leaves a stream himself does not come back: the engine is free without a wait."""
    async with standing() as stand, stand.client(detach_timeout_s=300) as client:
        stand.engine.allow(1)
        async with client.chat("go", **ASK) as stream:
            async for event in stream:
                if isinstance(event, TextDelta):
                    break
            del event
        await stream_closed(stream)
        await stand.engine.wait_until(running=0, aborted=1)
        assert len(stand.front.app._kept) == 0


async def stream_closed(stream: Any) -> None:
    """Has the loop end generators that nobody reads any more."""
    del stream
    for _ in range(3):
        await asyncio.sleep(0)


def test_threads_leave_as_well() -> None:
    """Leaving the loop over a stream of threads ends the request at once."""

    async def run() -> None:
        async with standing() as stand:
            stand.engine.allow(1)

            def read() -> None:
                with Client(stand.target, model=MODEL_ID, detach_timeout_s=300) as client:
                    for event in client.chat("go", **ASK):
                        if isinstance(event, TextDelta):
                            break

            await asyncio.to_thread(read)
            await stand.engine.wait_until(running=0, aborted=1)

    asyncio.run(run())


async def test_lost_for_good_says_what_was_received() -> None:
    """A front that was restarted knows nothing any more: the error says so, and has the text."""
    async with standing() as stand, stand.client() as client:
        stand.engine.allow(2)

        def restart() -> None:
            stand.front.app._kept.close()
            stand.proxy.cut_all()

        with pytest.raises(StreamLost, match=r"could not be resumed.*is kept") as failed:
            await read(client.chat("go", **ASK), "1", restart)
        assert failed.value.reason == "RESUME_EXPIRED"
        assert isinstance(failed.value.received, Answer)
        assert failed.value.received.text == "0 1 "
        assert len(stand.engine.requests) == 1


async def test_server_that_stays_away_is_waited_for_and_given_up() -> None:
    """Without a server the client tries for the detach_timeout, and then says what it has."""
    async with standing() as stand, stand.client(detach_timeout_s=0.5) as client:
        stand.engine.allow(2)

        def go_away() -> None:
            stand.proxy.target_port = 1  # where nobody listens
            stand.proxy.cut_all()

        with pytest.raises(StreamLost, match="could not be resumed") as failed:
            await read(client.chat("go", **ASK), "1", go_away)
    assert failed.value.code is grpc.StatusCode.UNAVAILABLE
    assert failed.value.received.text == "0 1 "


async def test_failure_of_the_request_is_no_lost_connection() -> None:
    """What the server says of the request is its end, also where the client could resume."""
    engine = ScriptedEngine()
    async with start_front(ScriptedLauncher(engine).prepare) as front:
        engine.failure = GenerationFailed("it broke")
        engine.allow(100)
        async with AsyncClient(f"127.0.0.1:{front.app.port}", model=MODEL_ID) as client:
            with pytest.raises(ServerError) as failed:
                await client.chat("go", detach_timeout=30).answer()
    assert failed.value.reason == "GENERATION_FAILED"


async def test_nobody_there_is_told_at_once() -> None:
    """A call that never went out is not waited for."""
    async with AsyncClient("127.0.0.1:1", model="m") as client:
        async with asyncio.timeout(GUARD_S):
            with pytest.raises(Unavailable) as failed:
                await client.chat("go").answer()
    assert not isinstance(failed.value, StreamLost)


@pytest.mark.parametrize("options", [{"detach_timeout_s": 0}, {"own_id": True}])
async def test_without_a_time_a_lost_connection_is_a_failure(options: dict[str, Any]) -> None:
    """It can be turned off; and is, where the caller names the request."""
    own = {"request_id": "r1"} if options.pop("own_id", False) else {}
    async with standing() as stand, stand.client(**options) as client:
        stand.engine.allow(1)
        with pytest.raises(Unavailable) as failed:
            await read(client.chat("go", **own, **ASK), "0", stand.proxy.cut_all)
        await stand.engine.wait_until(running=0, aborted=1)
    assert not isinstance(failed.value, StreamLost)
