from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tokenwire import __version__

from .surroundings import PATIENT_PROBE


class Servicer(health_pb2_grpc.HealthServicer):
    """Knows three names, and remembers what it was asked with."""

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        self.metadata = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
        if request.service == "slow":
            await asyncio.Event().wait()  # until the probe's deadline
        statuses = {"": "SERVING", "readiness": "NOT_SERVING"}
        if request.service not in statuses:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return health_pb2.HealthCheckResponse(
            status=health_pb2.HealthCheckResponse.ServingStatus.Value(statuses[request.service])
        )


@pytest.fixture
def servicer() -> Servicer:
    return Servicer()


@pytest.fixture
async def address(servicer: Servicer) -> AsyncGenerator[str]:
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def probe(*arguments: str) -> tuple[int, str, str]:
    """Runs the probe, with a minute for a busy machine unless `arguments` say another time."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tokenwire",
        "healthcheck",
        *PATIENT_PROBE,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_serving(address: str) -> None:
    """A serving name ends with 0 and says so."""
    assert await probe("-addr", address) == (0, "status: SERVING\n", "")


async def test_not_serving(address: str) -> None:
    """A name that does not serve ends with 4."""
    status, _, err = await probe(f"-addr={address}", "-service=readiness")
    assert (status, err) == (4, 'service unhealthy (responded with "NOT_SERVING")\n')


async def test_unknown_name(address: str) -> None:
    """A name that the server does not know is a failed call: 3."""
    status, _, err = await probe("--addr", address, "--service", "nobody")
    assert status == 3
    assert "NOT_FOUND" in err


async def test_slow_answer(address: str) -> None:
    """A call that outlasts its limit is a failed call: 3."""
    status, _, err = await probe("-addr", address, "-service", "slow", "-rpc-timeout", "100ms")
    assert (status, err) == (3, "timeout: health rpc did not complete within 0.1s\n")


async def test_no_health_service() -> None:
    """A server without the health service is a failed call: 3."""
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    status, _, err = await probe("-addr", f"127.0.0.1:{port}")
    await server.stop(None)
    assert status == 3
    assert "does not implement the grpc health protocol" in err


async def test_no_connection() -> None:
    """Where nobody listens, it ends with 2."""
    status, _, err = await probe("-addr", "127.0.0.1:9", "-connect-timeout", "200ms")
    assert status == 2
    assert "failed to connect" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["-nonsense"],
        ["-rpc-timeout", "soon"],
        ["-rpc-timeout", "0s"],
        ["-tls-ca-cert", "ca.pem"],
        ["-tls", "-tls-ca-cert", "/nowhere/ca.pem"],
        ["-tls", "-tls-client-cert", "c.pem"],
        ["-tls", "-tls-no-verify"],
        ["-spiffe"],
        ["-rpc-header", "nothing"],
    ],
)
async def test_wrong_flags(arguments: list[str]) -> None:
    """Flags that make no sense end with 1."""
    status, _, err = await probe("-addr", "127.0.0.1:9", *arguments)
    assert status == 1
    assert "error: " in err


async def test_headers_and_user_agent(address: str, servicer: Servicer) -> None:
    """Headers and the user agent reach the server, also compressed."""
    flags = ["-rpc-header", "X-Probe: yes", "-user-agent", "prober", "-gzip", "-tls=false", "-v"]
    status, _, _ = await probe("-addr", address, *flags)
    assert status == 0
    assert servicer.metadata["x-probe"] == "yes"
    assert servicer.metadata["user-agent"].startswith("prober ")


async def test_version() -> None:
    """-version prints it and asks nobody."""
    assert await probe("-version") == (0, f"{__version__}\n", "")


async def test_a_socket_is_asked_without_an_address(
    servicer: Servicer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLM_GRPC_SOCKET is where it asks by itself, so that a probe needs no certificate."""
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"unix:{tmp_path}/grpc.sock")
    await server.start()
    monkeypatch.setenv("LLM_GRPC_SOCKET", f"{tmp_path}/grpc.sock")
    monkeypatch.setenv("LLM_GRPC_PORT", "9")
    assert await probe() == (0, "status: SERVING\n", "")
    assert (await probe("-tls", "-connect-timeout", "200ms"))[0] == 2  # at the port
    await server.stop(None)


async def test_it_imports_little() -> None:
    """A probe that runs every few seconds loads neither a server nor a terminal."""
    script = (
        "import sys, tokenwire.commands.healthcheck, tokenwire.cli\n"
        "print([name for name in ('typer', 'rich', 'pydantic', 'aiohttp', 'structlog') "
        "if name in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out == b"[]\n"
