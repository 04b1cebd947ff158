"""What happens around every call, over a real socket."""

from __future__ import annotations

import grpc

from ..fronts import (
    CHAT,
    collect,
    failure_of,
    start_front,
)
from ..scripted_engine import ScriptedEngine, ScriptedLauncher


async def test_request_id_is_echoed_or_made() -> None:
    """The caller's x-request-id comes back in metadata and events; an unfit one is replaced."""
    engine = ScriptedEngine()
    engine.allow(100)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        request = client.chat("go")
        request.sampling.max_tokens = 1
        call = client.inference.Chat(request, metadata=(("x-request-id", "abc-1"),))
        answer = await collect(call)
        assert dict(await call.initial_metadata())["x-request-id"] == "abc-1"
        assert answer.started.request_id == "abc-1"
        answer = await collect(
            client.inference.Chat(request, metadata=(("x-request-id", "x" * 129),))
        )
        assert len(answer.started.request_id) == 32
        request.model = "nope"
        failure = await failure_of(
            client.inference.Chat(request, metadata=(("x-request-id", "abc-2"),))
        )
        assert failure.request_id == failure.trailers["x-request-id"] == "abc-2"


async def test_unforeseen_failure_tells_nothing_but_the_id() -> None:
    """What nobody foresaw is INTERNAL in general words: no class, no text of the exception."""
    engine = ScriptedEngine()
    engine.failure = ValueError("canary-text")
    engine.allow(1)
    async with start_front(ScriptedLauncher(engine).prepare) as client:
        failure = await failure_of(client.inference.Chat(client.chat("go")))
    assert failure.code is grpc.StatusCode.INTERNAL
    assert failure.reason == "INTERNAL"
    assert "canary" not in repr(failure)
    assert "ValueError" not in repr(failure)
    assert failure.request_id


async def test_undecodable_bytes_are_an_invalid_request() -> None:
    """Bytes that are no message are INVALID_ARGUMENT, and name no Python class."""
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        stub = client.unary(CHAT, serializer=lambda _: b"\xff\xff\xff")
        failure = await failure_of(stub(client.chat("go")))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "DecodeError" not in failure.message
