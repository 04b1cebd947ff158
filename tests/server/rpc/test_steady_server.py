"""Calls whose path no server should stumble over, and one that does all the same."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import grpc
import pytest
from tokenwire.server import app as app_module
from tokenwire.server.app import serve

from ...faults.raw_http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    Connection,
    call_head,
    frame,
    header,
)
from ..fronts import start_front
from ..scripted_engine import ScriptedEngine, ScriptedLauncher

GUARD_S = 45.0
LIST = "/tokenwire.v1.InferenceService/ListModels"
PATHS = {
    "no text": b"/tokenwire.v1.InferenceService/Generat\xe6",
    "half a character": b"/\xe2\x82",
    "a surrogate": b"/a/\xed\xa0\x80",
    "only bytes": b"\xff" * 100,
    "of another alphabet": "/привет/мир".encode(),
    "nothing": b"",
    "unknown": b"/tokenwire.v1.InferenceService/Nothing",
    "of no service": b"/x",
}


def head_of(path: bytes) -> bytes:
    """The headers of a call with any bytes for a path."""
    literal = b"\x00\x05:path" + bytes([len(path)]) + path
    return call_head(LIST).replace(header(":path", LIST), literal)


async def test_an_odd_path_ends_its_own_call_alone() -> None:
    """Its caller hears that there is no such method; its neighbours, and later calls, go on."""
    engine = ScriptedEngine()
    async with (
        asyncio.timeout(GUARD_S),
        start_front(ScriptedLauncher(engine).prepare) as client,
    ):
        engine.allow(1)
        neighbour = client.inference.Chat(client.chat("go"))
        await neighbour.read()
        for name, path in PATHS.items():
            async with await Connection.open(client.app.port) as connection:
                for stream in (1, 3):
                    await connection.send(
                        frame(HEADERS, END_HEADERS, stream, head_of(path)),
                        frame(DATA, END_STREAM, stream, bytes(5)),
                    )
                    assert await connection.end_of(stream) == (b"", False), name
                await connection.send(
                    frame(HEADERS, END_HEADERS, 5, call_head(LIST)),
                    frame(DATA, END_STREAM, 5, bytes(5)),
                )
                data, _ = await connection.end_of(5)
                assert b"test/scripted" in data, name
        engine.allow(100)
        while await neighbour.read() is not grpc.aio.EOF:
            pass
        async with grpc.aio.insecure_channel(f"127.0.0.1:{client.app.port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await channel.unary_unary("/tokenwire.v1.InferenceService/Nothing")(b"")
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_front_whose_grpc_ends_by_itself_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could call it any more: whoever started it starts another one."""

    class Ended:
        def __init__(self, *_: object) -> None:
            pass

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def wait_ended(self) -> None:
            raise ValueError("a call that it could not take")

    monkeypatch.setattr(app_module, "ServerApp", Ended)
    config: Any = None
    with pytest.raises(ValueError, match="could not take"):
        await serve(config)
