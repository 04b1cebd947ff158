"""A front and an edge in processes of their own, which a test kills and measures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ..surroundings import free_port
from .front_process import PACE

_ROOT = Path(__file__).parents[2]
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
START_S = 400.0  # a machine that does other work, too, takes minutes to start SGLang
_GUARD_S = 300.0


@dataclass(frozen=True, slots=True)
class Held:
    """What a front holds between requests."""

    tasks: int
    descriptors: int
    resident_bytes: int


class Front:
    """A running front; `tell` asks it what it holds."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, metrics_port: int) -> None:
        self.process = process
        self.port = port
        self.metrics_port = metrics_port

    @property
    def engine_pids(self) -> list[int]:
        """The processes of its engines."""
        return children_of(self.process.pid)

    async def tell(self) -> Held:
        """Counts tasks, descriptors and memory."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        answer = json.loads(await self.process.stdout.readline())
        pid = self.process.pid
        return Held(answer["tasks"], descriptors_of(pid), resident_bytes(pid))

    async def is_serving(self) -> bool:
        """Whether its engine is up."""
        return await self.gauge("llm_engine_up") == 1

    async def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        running = await self.gauge("llm_requests_in_flight")
        return running + await self.gauge("llm_queue_depth") == 0

    async def gauge(self, name: str) -> float:
        """The sum of a series of its metrics."""
        page = await asyncio.to_thread(read_page, f"http://127.0.0.1:{self.metrics_port}/metrics")
        lines = [line for line in page.splitlines() if line.startswith((name + "{", name + " "))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


class Edge:
    """A running edge on a port that stays the same; `kill` and `start` are up to the test."""

    def __init__(self, environment: dict[str, str], port: int) -> None:
        self.port = port
        self.num_kills = 0
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Starts it, and waits until it is live."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tokenwire", "edge", "--end-with-stdin"),
            stdin=asyncio.subprocess.PIPE,
            env=self._environment,
            cwd=_ROOT,
        )
        await eventually(self.is_listening)

    async def is_listening(self) -> bool:
        """Whether it, or another process, listens on its port."""
        return is_listening(self.port)

    async def kill(self) -> None:
        """Kills it as the OOM killer does."""
        assert self._process is not None
        if self._process.returncode is None:
            self.num_kills += 1
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()


@asynccontextmanager
async def running_front(*, pace_s: float | None = None, **variables: str) -> AsyncIterator[Front]:
    """Runs a front until its model serves; with a pace it has the scripted child as engine."""
    environment = {
        **os.environ,
        "LLM_GRPC_HOSTNAME": "127.0.0.1",
        "LLM_GRPC_PORT": "0",
        "LLM_METRICS_PORT": "0",
        "LLM_DRAIN_TIMEOUT_S": "5",
        "LLM_QUEUE_TIMEOUT_MS": "60000",
        "LOG_LEVEL": "error",
        "GRPC_ENABLE_FORK_SUPPORT": "0",  # as `tokenwire` has it
        **({} if pace_s is None else {PACE: str(pace_s), "LLM_ALLOWED_MODELS": "test/scripted"}),
        **variables,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.front_process"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
        cwd=_ROOT,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_S):
            ports = json.loads(await process.stdout.readline())
        front = Front(process, ports["port"], ports["metrics_port"])
        await eventually(front.is_serving, START_S)
        yield front
    finally:
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
        async with asyncio.timeout(30):
            await process.wait()


@asynccontextmanager
async def running_edge(front: Front, **variables: str) -> AsyncIterator[Edge]:
    """Runs an edge before a front."""
    port = free_port()
    environment = {
        **os.environ,
        "LLM_INFERENCE_HOSTNAME": "127.0.0.1",
        "LLM_INFERENCE_PORT": str(port),
        "LLM_GRPC_TARGET": f"127.0.0.1:{front.port}",
        "LOG_LEVEL": "error",
        **variables,
    }
    edge = Edge(environment, port)
    try:
        await edge.start()
        yield edge
    finally:
        await edge.kill()


async def eventually(ask: Callable[[], Awaitable[bool]], within_s: float = _GUARD_S) -> float:
    """Waits for what another process does, which nobody tells; returns the seconds it took.

    A process that cannot be asked, because it is busy or about to begin, has not done it yet.
    """
    start_s = time.monotonic()
    async with asyncio.timeout(within_s):
        while True:
            with contextlib.suppress(OSError):  # that of asyncio.timeout is raised behind this
                if await ask():
                    return time.monotonic() - start_s
            await asyncio.sleep(0.02)


def is_listening(port: int) -> bool:
    """Whether somebody listens on a port, from the kernel's own table."""
    local = f":{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(local) and row[3] == "0A" for row in rows)


def children_of(pid: int) -> list[int]:
    """The processes that a process started."""
    tasks = Path(f"/proc/{pid}/task")
    return [
        int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()
    ]


def is_alive(pid: int) -> bool:
    """Whether a process runs: a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def resident_bytes(pid: int) -> int:
    """The memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def descriptors_of(pid: int) -> int:
    """How many files a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def read_page(address: str) -> str:
    """The text at an address."""
    with urllib.request.urlopen(address, timeout=60) as response:
        return str(response.read().decode())
