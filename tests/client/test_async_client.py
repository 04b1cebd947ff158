"""The asynchronous client against a scripted service, over real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from tokenwire.client import (
    AsyncClient,
    Cancelled,
    ChannelTls,
    Client,
    DeadlineExceeded,
    InvalidRequest,
    RetryPolicy,
    Started,
    TextDelta,
    ToolLoopUnfinished,
    ToolResult,
    Unavailable,
)

from ..certificates import HOSTNAME, PairFiles
from .answers import (
    CALLED,
    HELLO,
    Response,
    Status,
    deltas,
    end,
    failing,
    started,
    text,
    tool_call,
    whole,
)
from .scripted_service import ScriptedService, asking, serving

GUARD_S = 45.0
SOON_S = 0.001


async def test_events_and_answer() -> None:
    """A stream gives its events, or one answer of them; key and id travel with the call."""
    service = ScriptedService(HELLO, HELLO)
    async with asyncio.timeout(GUARD_S), asking(service, api_key="k") as client:
        events = [event async for event in client.chat("Hi", request_id="r9")]
        assert service.metadata["x-request-id"] == "r9"
        assert service.metadata["authorization"] == "Bearer k"
        stream = client.chat("Hi")
        assert (await stream.answer()).text == "Hello"
        with pytest.raises(RuntimeError, match="once"):
            await stream.answer()
    assert isinstance(events[0], Started)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Hello"


@pytest.mark.parametrize("leave", ["break", "with", "close", "cancel"])
async def test_leaving_cancels(leave: str) -> None:
    """A loop, block or task that is left in the middle cancels the call on the server."""
    service = ScriptedService([started(), asyncio.Event()])
    seen = asyncio.Event()

    async def read(client: AsyncClient) -> None:
        stream = client.chat("Hi")
        if leave == "with":
            async with stream:
                async for _ in stream:
                    break
            return
        async for _ in stream:
            seen.set()
            if leave == "close":
                stream.close()
            if leave != "cancel":
                break

    async with asyncio.timeout(GUARD_S), asking(service) as client:
        reading = asyncio.create_task(read(client))
        if leave == "cancel":
            await seen.wait()
            reading.cancel()
        await asyncio.wait({reading})
        assert reading.cancelled() is (leave == "cancel")
        await service.cancelled.wait()


async def test_close_from_another_task() -> None:
    """A task that waits for the next event gets `Cancelled`, and is not cancelled itself."""
    service = ScriptedService([started(), asyncio.Event()])
    async with asyncio.timeout(GUARD_S), asking(service) as client:
        stream = client.chat("Hi")
        seen = asyncio.Event()

        async def read() -> None:
            async for _ in stream:
                seen.set()

        reading = asyncio.create_task(read())
        await seen.wait()
        stream.close()
        with pytest.raises(Cancelled):
            await reading


async def test_tries_again_when_the_server_says() -> None:
    """A call is made again before it began, progress or not; nothing of the first is repeated."""
    queued = Response(progress={})
    service = ScriptedService([failing(retry_s=SOON_S)], [queued, failing(retry_s=SOON_S)], HELLO)
    async with asyncio.timeout(GUARD_S), asking(service) as client:
        assert (await client.chat("Hi").answer()).text == "Hello"
    assert len(service.requests) == 3


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ([started(), failing(retry_s=SOON_S)], {}),
        ([failing()], {}),
        ([failing(retry_s=SOON_S)], {"retries": RetryPolicy(max_attempts=1)}),
        ([failing(retry_s=60)], {}),
        ([failing(retry_s=25)], {"timeout_s": 20.0}),
    ],
    ids=["started", "unasked", "once", "long", "deadline"],
)
async def test_does_not_try_again(script: list[Any], options: dict[str, Any]) -> None:
    """A generation that began is never repeated, nor a call beyond the bounds of the tries."""
    service = ScriptedService(script, HELLO)
    async with asyncio.timeout(GUARD_S), asking(service, **options) as client:
        with pytest.raises(Unavailable):
            await client.chat("Hi").answer()
    assert len(service.requests) == 1


async def test_nobody_listens() -> None:
    """A server that is not there is `Unavailable`, without a reason of its own."""
    async with serving(ScriptedService()) as port:
        pass
    async with asyncio.timeout(GUARD_S), AsyncClient(f"127.0.0.1:{port}", model="m") as client:
        with pytest.raises(Unavailable) as caught:
            await client.list_models()
    assert (caught.value.reason, caught.value.request_id) == ("", "")


async def test_deadline_travels_and_ends_the_call() -> None:
    """The server knows how long the caller waits, and the call ends then."""
    service = ScriptedService(HELLO, [asyncio.Event()], [failing(retry_s=SOON_S)], HELLO)
    async with asyncio.timeout(GUARD_S), asking(service, timeout_s=100) as client:
        await client.chat("Hi").answer()
        assert service.remaining_s is not None
        assert 50 < service.remaining_s <= 100
        with pytest.raises(DeadlineExceeded):
            await client.chat("Hi", timeout_s=0.2).answer()
        await client.chat("Hi", timeout_s=None).answer()
        assert service.remaining_s is None


async def test_unary_calls_fail_alike() -> None:
    """A unary call is tried again, and fails with its fields, as a stream does."""
    bad = failing(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", fields=[("a", "is wrong")])
    service = ScriptedService([failing(retry_s=SOON_S)], [], [bad])
    async with asyncio.timeout(GUARD_S), asking(service) as client:
        assert [model.id for model in await client.list_models()] == ["owner/model"]
        with pytest.raises(InvalidRequest) as caught:
            await client.list_models()
    assert [each.field for each in caught.value.violations] == ["a"]


async def later(city: str) -> str:
    """Tells the weather of a city."""
    return f"sunny in {city}"


ASKS = whole(*tool_call("c1", "later", '{"city": "Oslo"}'), end(CALLED))


async def test_loop_with_asynchronous_functions() -> None:
    """Functions are awaited, their results sent, and the last turn is free to be the answer."""
    service = ScriptedService(ASKS, whole(text("Sunny."), end()))
    async with asyncio.timeout(GUARD_S), asking(service) as client:
        loop = client.run("Weather?", tools=[later], tool_choice="required")
        events = [event async for event in loop]
    assert ToolResult("c1", "later", "sunny in Oslo") in events
    assert service.requests[1].messages[-1].tool_call_id == "c1"
    demands = [request.HasField("tool_choice") for request in service.requests]
    assert demands == [True, False]
    assert [message.role for message in loop.messages] == [2, 3, 4, 3]


async def test_loop_is_bounded() -> None:
    """A model that never stops calling ends the loop."""
    service = ScriptedService(ASKS, ASKS)
    async with asyncio.timeout(GUARD_S), asking(service) as client:
        with pytest.raises(ToolLoopUnfinished):
            await client.run("?", tools=[later], max_turns=2).answer()


async def test_leaving_a_loop_cancels_its_turn() -> None:
    """The end of its block cancels the call of the turn that runs."""
    service = ScriptedService([started(), deltas(text("a")), asyncio.Event()])
    async with asyncio.timeout(GUARD_S), asking(service) as client:
        async with client.run("?", tools=[later]) as loop:
            async for event in loop:
                if isinstance(event, TextDelta):
                    break
        await service.cancelled.wait()


async def test_tls(tmp_path: Path) -> None:
    """Both clients trust the authorities that they are given, under the name that is expected."""
    pair = PairFiles(tmp_path)
    credentials = grpc.ssl_server_credentials(
        [(pair.key.read_bytes(), pair.certificate.read_bytes())]
    )
    tls = ChannelTls(pair.authorities.read_bytes(), server_name=HOSTNAME)

    def list_blocking(port: int) -> int:
        with Client(f"127.0.0.1:{port}", tls=tls) as client:
            return len(client.list_models())

    async with asyncio.timeout(GUARD_S), serving(ScriptedService(), credentials) as port:
        async with AsyncClient(f"127.0.0.1:{port}", tls=tls) as client:
            assert len(await client.list_models()) == 1
        assert await asyncio.to_thread(list_blocking, port) == 1
        async with AsyncClient(f"127.0.0.1:{port}") as client:
            with pytest.raises(Unavailable):
                await client.list_models(timeout_s=5)


async def test_a_server_that_cancels_cancels_nobody() -> None:
    """A bare CANCELLED, as gRPC sends when a server stops, is tried again, and then a failure."""
    ended = Status(grpc.StatusCode.CANCELLED, "", ())
    service = ScriptedService([ended], HELLO, [ended], [ended], [ended])
    async with asyncio.timeout(GUARD_S), asking(service) as client:
        assert (await client.chat("Hi").answer()).text == "Hello"
        with pytest.raises(Cancelled):
            await client.chat("Hi").answer()
    assert len(service.requests) == 5
