"""The edge's two ends of TLS: what it serves by, and what it calls the front with."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tokenwire.channel import ChannelTls
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.tls_ends import TlsEnds

from ..certificates import HOSTNAME, PairFiles
from .conftest import edge_config
from .scripted import MODEL, ScriptedFront, started, text

GUARD_S = 45.0


def test_plaintext_has_no_ends() -> None:
    """Without TLS there are neither credentials nor series."""
    ends, registry = TlsEnds.load(edge_config()), CollectorRegistry()
    ends.register(registry)
    assert (ends.watched, ends.channel(), list(registry.collect())) == ((), None, [])


def test_the_end_at_the_front_follows_its_files(tmp_path: Path) -> None:
    """A channel trusts and shows what the files hold when it is opened."""
    own, front = PairFiles(tmp_path / "own"), PairFiles(tmp_path / "front")
    config = edge_config(
        LLM_GRPC_TARGET_TLS="true",
        LLM_GRPC_TARGET_CA_PATH=str(front.authorities),
        LLM_GRPC_TARGET_SERVER_NAME=HOSTNAME,
        LLM_GRPC_TARGET_CERT_PATH=str(own.certificate),
        LLM_GRPC_TARGET_KEY_PATH=str(own.key),
    )
    ends = TlsEnds.load(config)
    assert ends.https is None
    assert ends.front is not None
    own.replace()
    assert ends.front.look()
    assert ends.channel() == ChannelTls(
        front.authorities.read_bytes(),
        own.certificate.read_bytes(),
        own.key.read_bytes(),
        HOSTNAME,
    )


@pytest.mark.parametrize("num_characters", [5_000, 1_000_000])
async def test_a_client_that_stops_reading_is_cut_off(
    scripted: ScriptedFront,
    tmp_path: Path,
    num_characters: int,
) -> None:
    """In TLS, too, a client that takes nothing loses its stream, and frees the engine."""

    async def flood(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield started(request)
        while True:
            yield text(request, "x" * num_characters)

    scripted.script = flood
    pair = PairFiles(tmp_path)
    config = edge_config(
        LLM_GRPC_TARGET=scripted.target,
        LLM_GRPC_TARGET_TLS="false",
        LLM_HTTP_WRITE_TIMEOUT_S="0.1",
        **pair.variables(),
    )
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}).encode()
    head = b"POST /api/chat/stream HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    context = ssl.create_default_context(cafile=str(pair.authorities))
    async with EdgeApp(config) as edge, asyncio.timeout(GUARD_S):
        _, writer = await asyncio.open_connection(
            "127.0.0.1", edge.port, limit=1024, ssl=context, server_hostname=HOSTNAME
        )
        writer.write(head % len(body) + body)
        await scripted.cancelled.wait()
        writer.transport.abort()
