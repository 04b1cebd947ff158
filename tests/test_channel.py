"""How a channel to the front is opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from tokenwire import channel
from tokenwire.channel import open_blocking_channel, open_channel

METHOD = "/test/Echo"
# Above the 4 MiB that gRPC takes by itself.
LARGE = b"x" * (5 * 1024 * 1024)


@pytest_asyncio.fixture
async def target() -> AsyncIterator[str]:
    """A server that sends back what it gets, of any size."""

    async def echo(request: bytes, _context: object) -> bytes:
        return request

    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def echoed(target: str, *, is_blocking: bool) -> bytes:
    """Returns what a large message comes back as."""
    if is_blocking:
        with open_blocking_channel(target) as blocking:
            answer = await asyncio.to_thread(blocking.unary_unary(METHOD), LARGE, timeout=20)
    else:
        async with open_channel(target) as opened:
            answer = await opened.unary_unary(METHOD)(LARGE, timeout=20)
    assert isinstance(answer, bytes)
    return answer


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_long_answers_fit(target: str, is_blocking: bool) -> None:
    """A whole long answer is one message, larger than gRPC takes by itself."""
    assert await echoed(target, is_blocking=is_blocking) == LARGE


@pytest.mark.parametrize("is_blocking", [False, True])
async def test_the_front_is_reached_past_proxies(
    target: str, is_blocking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy for the outside is no way to a neighbour."""
    monkeypatch.setenv("grpc_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_grpc_proxy", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert await echoed(target, is_blocking=is_blocking) == LARGE


async def test_an_answer_at_its_limit_and_above(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer of the limit is read, one of a byte more is a failure and no hang."""
    limit = 1000
    options = [pair for pair in channel._OPTIONS if pair[1] != channel._MAX_RESPONSE_BYTES]
    bounded = [*options, ("grpc.max_receive_message_length", limit)]
    monkeypatch.setattr(channel, "_OPTIONS", bounded)
    async with open_channel(target) as opened:
        echo = opened.unary_unary(METHOD)
        assert await echo(b"x" * limit, timeout=20) == b"x" * limit
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await echo(b"x" * (limit + 1), timeout=20)
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
