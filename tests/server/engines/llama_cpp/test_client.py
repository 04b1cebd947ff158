"""HTTP with the child of llama.cpp."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio
from aiohttp import web
from tokenwire.server.contract.token_ids import TokenIds
from tokenwire.server.engines.llama_cpp.client import (
    LlamaCppClient,
    Refused,
    Unreachable,
    ids_to_json,
    read_events,
)


async def stream(request: web.Request) -> web.StreamResponse:
    """Streams an event cut in two, a ping, and another event; then breaks off where it is asked."""
    response = web.StreamResponse()
    await response.prepare(request)
    for part in (b'data: {"a"', b": 1}\n\n", b":\n\n", b'data: {"b": 2}\n\n'):
        await response.write(part)
    if (await request.json()).get("breaks"):
        assert request.transport is not None
        request.transport.abort()
    return response


async def refuse(_: web.Request) -> web.Response:
    return web.json_response({"error": {"message": "no"}}, status=400)


@pytest_asyncio.fixture(loop_scope="session")
async def client(tmp_path: Path) -> AsyncIterator[LlamaCppClient]:
    app = web.Application()
    app.add_routes([web.post("/stream", stream), web.route("*", "/refuse", refuse)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    path = str(tmp_path / "s.sock")
    await web.UnixSite(runner, path).start()
    client = LlamaCppClient(path)
    yield client
    await client.close()
    await runner.cleanup()


async def test_events_of_a_stream(client: LlamaCppClient) -> None:
    """Events come whole however they were cut, and pings are none."""
    async with await client.open_stream("/stream", {}) as response:
        assert [event async for event in read_events(response)] == [{"a": 1}, {"b": 2}]


async def test_stream_that_breaks_off(client: LlamaCppClient) -> None:
    """A stream without its end is told from one that is over."""
    async with await client.open_stream("/stream", {"breaks": True}) as response:
        with pytest.raises(Unreachable):
            _ = [event async for event in read_events(response)]


async def test_refusals(client: LlamaCppClient) -> None:
    """An error of the server carries its words, on every kind of call."""
    for call in (
        client.get("/refuse"),
        client.post("/refuse", {}),
        client.open_stream("/refuse", {}),
    ):
        with pytest.raises(Refused, match='"message": "no"'):
            await call


async def test_nobody_listens(tmp_path: Path) -> None:
    """A child that is gone is unreachable."""
    client = LlamaCppClient(str(tmp_path / "nothing.sock"))
    with pytest.raises(Unreachable):
        await client.get("/health")
    with pytest.raises(Unreachable):
        await client.open_stream("/completion", {})
    await client.close()


@pytest.mark.parametrize("num_ids", [0, 1, 16_384, 16_385, 100_000])
async def test_ids_are_spelt_in_full(num_ids: int) -> None:
    """A prompt's ids stand in the body in their order, however many there are."""
    body = {"prompt": await ids_to_json(TokenIds.of(range(num_ids))), "stream": True}
    assert orjson.loads(orjson.dumps(body)) == {"prompt": list(range(num_ids)), "stream": True}
