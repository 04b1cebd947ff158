"""Where gRPC listens, and what is told where it cannot."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tokenwire.environment import ConfigurationError
from tokenwire.listening import Listener
from tokenwire.server.rpc import ports
from tokenwire.server.rpc.ports import open_port, open_socket
from tokenwire.tls.watched_credentials import WatchedCredentials

from ...certificates import PairFiles
from ..fronts import connect, start_front
from ..scripted_engine import ScriptedEngine, ScriptedLauncher


@pytest_asyncio.fixture
async def server() -> AsyncIterator[grpc.aio.Server]:
    made = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    yield made
    await made.stop(None)


def listener(port: int) -> Listener:
    return Listener("LLM_GRPC_HOSTNAME", "127.0.0.1", "LLM_GRPC_PORT", port)


@pytest.mark.parametrize("has_tls", [False, True])
async def test_a_taken_port_is_told(server: grpc.aio.Server, tmp_path: Path, has_tls: bool) -> None:
    """With and without TLS it is the port that is named, not the certificate."""
    credentials = None
    if has_tls:
        watched = WatchedCredentials(PairFiles(tmp_path).pem_files(), "grpc")
        credentials = watched.grpc_credentials()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError) as raised:
            open_port(server, listener(port), credentials)
    assert raised.value.problems == (
        f"LLM_GRPC_PORT: cannot listen on 127.0.0.1:{port}: address already in use",
    )


async def test_a_socket_that_is_left_over_is_replaced(
    server: grpc.aio.Server, tmp_path: Path
) -> None:
    """What a front that was killed left behind does not keep the next one from listening."""
    path = tmp_path / "grpc.sock"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    open_socket(server, path)
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        await channel.channel_ready()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("x" * 107, "a socket's path has at most 107 bytes"),
        ("file/grpc.sock", "file exists"),
        ("folder", "no file can be made there, or another is"),
    ],
)
async def test_a_socket_that_cannot_be_made(
    server: grpc.aio.Server, tmp_path: Path, name: str, why: str
) -> None:
    """It is told by its variable."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    with pytest.raises(ConfigurationError) as raised:
        open_socket(server, path)
    assert raised.value.problems == (f"LLM_GRPC_SOCKET: cannot listen on {path}: {why}",)


async def test_streams_of_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """One stream more than a connection has waits in the client, until another one ends."""
    monkeypatch.setattr(ports, "MAX_CONCURRENT_STREAMS", 2)
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        request = health_pb2.HealthCheckRequest()
        held = [client.health.Watch(request) for _ in range(2)]
        for watch in held:
            await watch.read()
        third = client.health.Watch(request)
        waiting = asyncio.ensure_future(third.read())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.2)
        held[0].cancel()
        async with asyncio.timeout(45):
            assert await waiting
        for watch in (held[1], third):
            watch.cancel()


async def test_connections_at_their_limit_and_above(tmp_path: Path) -> None:
    """One too many is closed, and the Unix socket has places of its own."""
    request = health_pb2.HealthCheckRequest()
    path = tmp_path / "grpc.sock"
    async with start_front(
        ScriptedLauncher(ScriptedEngine()).prepare,
        LLM_GRPC_MAX_CONNECTIONS="2",
        LLM_GRPC_SOCKET=str(path),
    ) as first:
        await first.health.Check(request)
        async with connect(first.app) as second:
            await second.health.Check(request)
            async with connect(first.app) as third:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await third.health.Check(request)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
                await health_pb2_grpc.HealthStub(channel).Check(request)
        async with connect(first.app) as next_one:
            # The place is free when the server has seen that the other is closed.
            await next_one.health.Check(request, wait_for_ready=True, timeout=60)
