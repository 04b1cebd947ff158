"""The servers of `soak.py`, each in a process of its own, and what they hold."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from front_cost_servers import HOST, MODEL_ID
from paced_engine import PacedEngine, PacedLauncher, Pacer
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.config import EdgeConfig
from tokenwire.logs.configure import configure_logging
from tokenwire.logs.settings import LogSettings
from tokenwire.logs.writer import LineWriter
from tokenwire.server.app import ServerApp
from tokenwire.server.machine.c_allocator import limit_arenas
from tokenwire.server.settings.server_config import ServerConfig

_END_TIMEOUT_S = 20.0
# Of the process, not of what it is asked: they are looked at in other ways.
_OF_PROCESS = ("process_", "python_", "llm_build_info")


async def serve_front(pipe: Connection, num_slots: int, rate: float) -> None:
    """Runs the front; sends its port and that of its metrics."""
    limit_arenas()  # as `tokenwire server` does
    config = ServerConfig.model_validate(
        {
            "LLM_ALLOWED_MODELS": MODEL_ID,
            "LLM_GRPC_HOSTNAME": HOST,
            "LLM_GRPC_PORT": "0",
            "LLM_METRICS_PORT": "0",
            "LLM_MAX_CONCURRENT_REQUESTS": str(num_slots),
            "LLM_MAX_QUEUED_REQUESTS": str(4 * num_slots),
        }
    )
    _log_to_nowhere(config)
    launcher = PacedLauncher(PacedEngine(Pacer(rate), num_slots))
    async with ServerApp(config, launcher.prepare) as app:
        ready = asyncio.Event()
        app.models.observe(lambda: ready.set() if app.models.is_ready else None)
        await ready.wait()
        await _answer_until_closed(pipe, (app.port, app.metrics_port))


async def serve_edge(pipe: Connection, front_port: int) -> None:
    """Runs the edge; sends its port, which has its metrics, too."""
    config = EdgeConfig.model_validate(
        {
            "LLM_INFERENCE_HOSTNAME": HOST,
            "LLM_INFERENCE_PORT": "0",
            "LLM_GRPC_TARGET": f"{HOST}:{front_port}",
        }
    )
    _log_to_nowhere(config)
    async with EdgeApp(config) as edge:
        await _answer_until_closed(pipe, (edge.port, edge.port))


def _log_to_nowhere(settings: LogSettings) -> None:
    configure_logging(settings, (), LineWriter(os.open(os.devnull, os.O_WRONLY)))


async def _answer_until_closed(pipe: Connection, ports: tuple[int, int]) -> None:
    """Sends the ports, then the number of tasks to each question."""
    pipe.send(ports)
    while True:
        await asyncio.to_thread(pipe.poll, None)
        try:
            pipe.recv()
        except EOFError:
            return
        pipe.send(len(asyncio.all_tasks()))


def _run_child(
    serve: Callable[..., Coroutine[Any, Any, None]], pipe: Connection, *arguments: float
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(serve(pipe, *arguments))


@dataclass(frozen=True, slots=True)
class Size:
    """What a process holds."""

    resident_mb: float
    num_files: int
    num_threads: int
    num_tasks: int

    def __str__(self) -> str:
        return (
            f"{self.resident_mb:.1f} MB, {self.num_files} files, {self.num_threads} threads, "
            f"{self.num_tasks} tasks"
        )


@dataclass(frozen=True, slots=True)
class Server:
    """A server in a process of its own."""

    pid: int
    port: int
    metrics_port: int
    pipe: Connection

    def size(self) -> Size:
        """Looks at the process, and asks it for its tasks."""
        self.pipe.send(None)
        proc = Path(f"/proc/{self.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        return Size(
            int(status["VmRSS"].split()[0]) / 1024,
            len(list((proc / "fd").iterdir())),
            int(status["Threads"]),
            self.pipe.recv(),
        )

    async def gauges(self, http: aiohttp.ClientSession) -> dict[str, float]:
        """Reads what it tells of the present, by series, without what is about its process."""
        async with http.get(f"http://{HOST}:{self.metrics_port}/metrics") as response:
            page = await response.text()
        names = set(re.findall(r"^# TYPE (\S+) gauge$", page, re.MULTILINE))
        samples = (line.rpartition(" ") for line in page.splitlines() if line[:1] != "#")
        return {
            series: float(value)
            for series, _, value in samples
            if series.partition("{")[0] in names and not series.startswith(_OF_PROCESS)
        }


@contextmanager
def start(serve: Callable[..., Coroutine[Any, Any, None]], *arguments: float) -> Generator[Server]:
    """Runs `serve` in a process of its own, for the body's time."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_run_child, args=(serve, there, *arguments), daemon=True)
    process.start()
    there.close()
    try:
        port, metrics_port = here.recv()
        assert process.pid is not None  # it is started
        yield Server(process.pid, port, metrics_port, here)
    finally:
        here.close()
        process.join(_END_TIMEOUT_S)
        process.kill()
