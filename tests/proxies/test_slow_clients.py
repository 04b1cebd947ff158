"""slowhttptest, 200 connections of each kind: others are answered, and the slow ones closed."""

from __future__ import annotations

import asyncio
import shutil

import aiohttp
import pytest
from tokenwire.edge.app import EdgeApp

from ..edge.conftest import edge_config
from ..edge.scripted import MODEL, ScriptedFront

pytestmark = pytest.mark.clients

NUM_CONNECTIONS = 200
# The limits are a fraction of their defaults, or the test would take two minutes.
LIMITS = {
    "LLM_HTTP_HEAD_TIMEOUT_S": "2",
    "LLM_BODY_TIMEOUT_S": "2",
    "LLM_HTTP_WRITE_TIMEOUT_S": "2",
    "LLM_HTTP_IDLE_TIMEOUT_S": "2",
}
MAX_S = 120
KINDS = {
    "headers": ("-H", "-u", "{url}/api/llms"),
    "body": ("-B", "-s", "65536", "-f", "application/json", "-u", "{url}/api/generate"),
    "read": (
        *("-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "3"),
        *("-u", "{url}/swagger-ui/swagger-ui-bundle.js"),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_slow_clients_are_closed_and_others_served(
    scripted: ScriptedFront, kind: str
) -> None:
    """Long before slowhttptest would end by itself none of its connections is open."""
    program = shutil.which("slowhttptest")
    if program is None:
        pytest.skip("needs the Debian package slowhttptest")
    config = edge_config(LLM_GRPC_TARGET=scripted.target, **LIMITS)
    body = {"model": MODEL, "prompt": "x"}
    # Where this machine stalls for longer than the idle timeout, a request that goes out on an old
    # connection may meet its end.
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        EdgeApp(config) as edge,
        aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}", connector=connector) as http,
        asyncio.timeout(2 * MAX_S),
    ):
        url = f"http://127.0.0.1:{edge.port}"
        count = str(NUM_CONNECTIONS)
        process = await asyncio.create_subprocess_exec(
            *(program, "-c", count, "-r", count, "-l", str(MAX_S), "-i", "1", "-x", "8"),
            *(part.replace("{url}", url) for part in KINDS[kind]),
            stdout=asyncio.subprocess.PIPE,
        )
        ended = asyncio.ensure_future(process.communicate())
        num_served = 0
        while not ended.done():
            async with http.post("/api/generate", json=body) as response:
                assert response.status == 200
                await response.read()
            num_served += 1
        output, _ = await ended
    assert b"No open connections left" in output
    assert num_served > 10
