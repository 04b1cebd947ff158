from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from tokenwire.lifecycle import Shutdown
from tokenwire.supervisor import ChildCommand, Supervisor

from .certificates import PairFiles
from .surroundings import free_port

GUARD_S = 60.0
SERVER, EDGE = "tokenwire.server.app", "tokenwire.edge.app"
Line = dict[str, object]


class Service:
    """`tokenwire serve` with a model that is nowhere: the processes are real and start at once."""

    def __init__(self, process: asyncio.subprocess.Process, grpc_port: int) -> None:
        self.process = process
        self.grpc_port = grpc_port

    async def line(self, is_it: Callable[[Line], bool]) -> Line:
        """Reads log lines until one is it."""
        assert self.process.stderr is not None
        async for raw in self.process.stderr:
            try:
                line: Line = json.loads(raw)
            except ValueError:
                continue
            if is_it(line):
                return line
        raise AssertionError("the logs ended")

    async def event(self, name: str, logger: str = "") -> Line:
        return await self.line(lambda line: line["event"] == name and logger in str(line["logger"]))

    async def closed(self) -> None:
        """Waits until no process holds the pipe of the logs any more."""
        assert self.process.stderr is not None
        while await self.process.stderr.read(65536):
            pass

    def children(self) -> dict[str, int]:
        """Returns the process ids of server and edge."""
        pid = self.process.pid
        ids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        commands = {
            child: Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0") for child in ids
        }
        return {
            name: int(child)
            for child, words in commands.items()
            for name in ("server", "edge")
            if name.encode() in words
        }

    async def is_live(self) -> bool:
        async with grpc.aio.insecure_channel(f"localhost:{self.grpc_port}") as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            request = health_pb2.HealthCheckRequest(service="liveness")
            answer = await check(request, wait_for_ready=True, timeout=30)
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@asynccontextmanager
async def serve(folder: Path, **variables: str) -> AsyncGenerator[Service]:
    grpc_port = free_port()
    environment = {
        **os.environ,
        "LLM_ALLOWED_MODELS": "owner/nowhere:file.gguf",
        "HF_HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
        "LLM_GRPC_PORT": str(grpc_port),
        "LLM_INFERENCE_PORT": str(free_port()),
        "LLM_METRICS_PORT": "0",
        "LOG_FORMAT": "json",
        **variables,
    }
    command = (sys.executable, "-m", "tokenwire", "serve")
    process = await asyncio.create_subprocess_exec(
        *command, stderr=asyncio.subprocess.PIPE, env=environment, cwd=folder
    )
    try:
        async with asyncio.timeout(GUARD_S):
            yield Service(process, grpc_port)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def both_listen(service: Service) -> None:
    waiting = {SERVER, EDGE}

    def is_last(line: Line) -> bool:
        if line["event"] == "listening":
            waiting.discard(str(line["logger"]))
        return not waiting

    await service.line(is_last)


async def test_a_killed_child_is_started_again(tmp_path: Path) -> None:
    """Killing the server or the edge leaves the other alone, and brings the killed one back."""
    async with serve(tmp_path) as service:
        await both_listen(service)
        before = service.children()
        os.kill(before["server"], signal.SIGKILL)
        died = await service.event("child_died")
        assert (died["child"], died["exit_status"]) == ("server", -signal.SIGKILL)
        await service.event("listening", SERVER)
        assert await service.is_live()
        os.kill(before["edge"], signal.SIGKILL)
        await service.event("listening", EDGE)
        after = service.children()
        assert set(after) == {"server", "edge"}
        assert not set(after.values()) & set(before.values())


async def test_edge_finds_metrics_at_a_free_port(tmp_path: Path) -> None:
    """The edge's page has the front's part where the port is any free one, after a restart, too."""
    http_port = free_port()
    async with (
        serve(tmp_path, LLM_INFERENCE_PORT=str(http_port)) as service,
        aiohttp.ClientSession(f"http://127.0.0.1:{http_port}") as http,
    ):
        await both_listen(service)
        first = await metrics_lines(http)
        os.kill(service.children()["server"], signal.SIGKILL)
        await service.event("listening", SERVER)
        second = await metrics_lines(http)
    for lines in (first, second):
        assert "llm_edge_front_up 1.0" in lines
        assert any(line.startswith("llm_drain_state 0.0") for line in lines)


async def metrics_lines(http: aiohttp.ClientSession) -> list[str]:
    async with http.get("/metrics") as response:
        return (await response.text()).splitlines()


async def test_sigterm_ends_both_in_order(tmp_path: Path) -> None:
    """SIGTERM drains the server, then the edge, and the status is 0."""
    async with serve(tmp_path) as service:
        await both_listen(service)
        children = service.children()
        service.process.terminate()
        await service.event("stopped", SERVER)
        await service.event("stopped", EDGE)
        await service.closed()
        assert await service.process.wait() == 0
        for pid in children.values():
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


def contents(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short path, as that of a socket must be; `tmp_path` is too long for it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


async def test_children_end_with_a_killed_supervisor(tmp_path: Path, temporary: Path) -> None:
    """SIGKILL of the supervisor leaves no process behind, and no file, such as its socket."""
    tls = PairFiles(tmp_path).variables()
    async with serve(tmp_path, TMPDIR=str(temporary), **tls) as service:
        await both_listen(service)
        (folder,) = contents(temporary)
        assert (folder / "grpc.sock").is_socket()
        service.process.kill()
        await service.closed()
    assert contents(temporary) == []


async def test_a_taken_port_ends_the_start(tmp_path: Path) -> None:
    """A port that another program holds is told once, by its variable, and nothing starts."""
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with serve(tmp_path, LLM_INFERENCE_PORT=str(port)) as service:
            assert service.process.stderr is not None
            told = (await service.process.stderr.read()).decode()
            assert await service.process.wait() == 2
    assert f"LLM_INFERENCE_PORT: cannot listen on 0.0.0.0:{port}: address already in use" in told
    assert "listening" not in told


async def test_mistakes_end_the_start(tmp_path: Path) -> None:
    """The mistakes of server and edge are told together, with status 2."""
    async with serve(tmp_path, LLM_GRPC_PORT="x", CORS_ALLOWED_ORIGINS="nonsense") as service:
        assert service.process.stderr is not None
        text = (await service.process.stderr.read()).decode()
        assert await service.process.wait() == 2
    assert text.startswith("The configuration has ")
    assert "LLM_GRPC_PORT: takes a whole number from 0 to 65535, got 'x'" in text
    assert "CORS_ALLOWED_ORIGINS: " in text
    assert "Traceback" not in text


def python(name: str, script: str, *, stop_timeout_s: float = GUARD_S) -> ChildCommand:
    return ChildCommand(name, (sys.executable, "-c", script), stop_timeout_s, force_timeout_s=0.2)


class Lines:
    """What children write, and a way to wait for it."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._changed = asyncio.Event()

    def write(self, line: bytes) -> None:
        self.seen.append(line.decode().strip())
        self._changed.set()

    async def wait_for(self, *lines: str) -> None:
        while not set(lines) <= set(self.seen):
            self._changed.clear()
            await self._changed.wait()


STUBBORN = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: print("asked", file=sys.stderr, flush=True))
print("up", file=sys.stderr, flush=True)
while True:
    signal.pause()
"""


async def test_second_signal_forces() -> None:
    """A child that does not drain is killed after the second signal; the status tells it."""
    lines, shutdown = Lines(), Shutdown()
    supervisor = Supervisor((python("stubborn", STUBBORN),), shutdown, lines.write)
    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        await lines.wait_for("up")
        shutdown.request()
        await lines.wait_for("asked")
        shutdown.request()
        assert await running == 1


async def test_a_drain_has_a_limit() -> None:
    """A child that outlasts its own time to stop is killed without a second signal."""
    lines, shutdown = Lines(), Shutdown()
    command = python("stubborn", STUBBORN, stop_timeout_s=0.1)
    supervisor = Supervisor((command,), shutdown, lines.write)
    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        await lines.wait_for("up")
        shutdown.request()
        assert await running == 1


async def test_mistakes_of_a_child_are_not_tried_again() -> None:
    """Status 2 of a child ends everything at once: another start would end the same."""
    lines, shutdown = Lines(), Shutdown()
    script = "import sys; print('up', file=sys.stderr); sys.exit(2)"
    commands = (python("wrong", script), python("other", STUBBORN, stop_timeout_s=0.1))
    async with asyncio.timeout(GUARD_S):
        assert await Supervisor(commands, shutdown, lines.write).run() == 2
    assert lines.seen.count("up") <= 2


async def test_a_child_that_keeps_dying_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last of the waits everything ends, and the status tells it."""
    monkeypatch.setattr("tokenwire.supervisor._RESTART_DELAYS_S", (0.0, 0.0))
    lines, shutdown = Lines(), Shutdown()
    dying = python("dying", "import sys; print('up', file=sys.stderr); sys.exit(3)")
    async with asyncio.timeout(GUARD_S):
        assert await Supervisor((dying,), shutdown, lines.write).run() == 1
    assert lines.seen == ["up"] * 3
