"""Half an hour of everything at once: nothing may grow, and all that is counted comes back to zero.

    python bench/soak.py [--minutes 30] [--at-once 64] [--warm-up-minutes 5]

Clients ask a front with a paced engine over gRPC and over SSE, with answers of mixed lengths; some
leave in the middle, some ask for what is refused, some are cut off and resume. Front and edge are
processes of their own. Printed, a line a minute, are resident memory, open files, threads and tasks
of each; at the end, what is left of them once nobody asks any more.

The exit status is 1 where a request failed that should not, memory grew by 5 % or more behind the
warm-up, or a gauge, files or tasks did not come back.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import re
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import grpc
import uvloop
from front_cost_servers import HOST, MODEL_ID
from paced_engine import PacedEngine, PacedLauncher, Pacer
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.config import EdgeConfig
from tokenwire.generated.tokenwire.v1 import inference_pb2, inference_pb2_grpc
from tokenwire.logs.configure import configure_logging
from tokenwire.logs.settings import LogSettings
from tokenwire.logs.writer import LineWriter
from tokenwire.server.app import ServerApp
from tokenwire.server.settings.server_config import ServerConfig

_RATE = 50.0
_MAX_GROWTH = 0.05
_LENGTHS = (1, 5, 20, 20, 60, 200)
_SETTLE_S = 15.0
# Well under it: what has ended is kept for so long, and counts as kept.
_DETACH_S = 5
_END_TIMEOUT_S = 20.0
# What counts things that are there now, and is zero where nobody asks.
_GAUGE = re.compile(r"^(\w*(?:in_flight|queue_depth|detached|kept)\w*(?:\{.*\})?) ([\d.e+]+)$")


async def serve_front(pipe: Connection, num_slots: int) -> None:
    """Runs the front; sends its port and that of its metrics."""
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
    launcher = PacedLauncher(PacedEngine(Pacer(_RATE), num_slots))
    async with ServerApp(config, launcher.prepare) as app:
        ready = asyncio.Event()
        app.models.observe(lambda: ready.set() if app.models.is_ready else None)
        await ready.wait()
        await _answer_until_closed(pipe, (app.port, app.metrics_port))


async def serve_edge(pipe: Connection, front_port: int) -> None:
    """Runs the edge; sends its port."""
    config = EdgeConfig.model_validate(
        {
            "LLM_INFERENCE_HOSTNAME": HOST,
            "LLM_INFERENCE_PORT": "0",
            "LLM_GRPC_TARGET": f"{HOST}:{front_port}",
        }
    )
    _log_to_nowhere(config)
    async with EdgeApp(config) as edge:
        await _answer_until_closed(pipe, (edge.port, 0))


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
    serve: Callable[..., Coroutine[Any, Any, None]], pipe: Connection, argument: int
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(serve(pipe, argument))


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
        self.pipe.send(None)
        proc = Path(f"/proc/{self.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        return Size(
            int(status["VmRSS"].split()[0]) / 1024,
            len(list((proc / "fd").iterdir())),
            int(status["Threads"]),
            self.pipe.recv(),
        )


@contextmanager
def start(serve: Callable[..., Coroutine[Any, Any, None]], argument: int) -> Generator[Server]:
    """Runs `serve` in a process of its own, for the body's time."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_run_child, args=(serve, there, argument), daemon=True)
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


class Traffic:
    """What clients do, one thing after another; `counts` says how often it came to what."""

    def __init__(self, channel: grpc.aio.Channel, http: aiohttp.ClientSession) -> None:
        self._stub: Any = inference_pb2_grpc.InferenceServiceStub(channel)
        self._http = http
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []

    async def run(self, seed: int, end_s: float) -> None:
        """Does things until `end_s`."""
        random = Random(seed)
        deeds = (self._stream, self._stream, self._sse, self._sse, self._leave, self._leave_sse,
                 self._fail, self._fail_sse, self._resume)  # fmt: skip
        while time.monotonic() < end_s:
            deed = random.choice(deeds)
            try:
                await deed(random.choice(_LENGTHS))
                self.counts[deed.__name__.strip("_")] += 1
            except (grpc.aio.AioRpcError, aiohttp.ClientError, AssertionError) as error:
                self.failures.append(f"{deed.__name__}: {type(error).__name__}: {error}"[:400])

    async def _stream(self, num_tokens: int) -> None:
        responses = [each async for each in self._stub.Generate(_request(num_tokens))]
        assert responses[-1].finished.usage.num_completion_tokens == num_tokens

    async def _leave(self, num_tokens: int) -> None:
        call = self._stub.Generate(_request(num_tokens))
        await call.read()
        call.cancel()

    async def _fail(self, _: int) -> None:
        request = _request(5)
        request.sampling.temperature = 9
        call = self._stub.Generate(request)
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT

    async def _resume(self, num_tokens: int) -> None:
        request = _request(num_tokens)
        request.detach_timeout.FromSeconds(_DETACH_S)
        request_id = uuid.uuid4().hex
        call = self._stub.Generate(request, metadata=(("x-request-id", request_id),))
        position = (await call.read()).position
        call.cancel()
        again = inference_pb2.GenerateRequest()
        again.resume.request_id = request_id
        again.resume.after_position = position
        responses = [each async for each in self._stub.Generate(again)]
        assert responses[-1].finished.usage.num_completion_tokens == num_tokens

    async def _sse(self, num_tokens: int) -> None:
        async with self._http.post("/api/generate/stream", json=_body(num_tokens)) as response:
            text = await response.text()
        assert response.status == 200, text
        assert text.count(" token") == num_tokens, f"{num_tokens}: {text[-300:]}"

    async def _leave_sse(self, num_tokens: int) -> None:
        async with self._http.post("/api/generate/stream", json=_body(num_tokens)) as response:
            await response.content.readany()
            response.close()

    async def _fail_sse(self, _: int) -> None:
        body = {**_body(5), "temperature": "hot"}
        async with self._http.post("/api/generate/stream", json=body) as response:
            await response.read()
        assert response.status == 400


def _request(num_tokens: int) -> inference_pb2.GenerateRequest:
    request = inference_pb2.GenerateRequest(model=MODEL_ID, text="go " * (num_tokens % 50 + 1))
    request.sampling.max_tokens = num_tokens
    return request


def _body(num_tokens: int) -> dict[str, Any]:
    return {"model": MODEL_ID, "prompt": "go", "max_tokens": num_tokens}


async def gauges(http: aiohttp.ClientSession, port: int) -> dict[str, float]:
    """Returns the gauges that are not zero."""
    async with http.get(f"http://{HOST}:{port}/metrics") as response:
        page = await response.text()
    counted = {line.split()[2] for line in page.splitlines() if re.match("# TYPE .* gauge$", line)}
    found = {}
    for line in page.splitlines():
        match = _GAUGE.match(line)
        if match and match[1].partition("{")[0] in counted and "limit" not in match[1]:
            found[match[1]] = float(match[2])
    return {name: value for name, value in found.items() if value and "max_" not in name}


async def soak(options: argparse.Namespace, servers: dict[str, Server]) -> list[str]:
    """Asks for the time of the run, and returns what is wrong."""
    front, edge = servers["front"], servers["edge"]
    begin = {name: server.size() for name, server in servers.items()}
    end_s = time.monotonic() + options.minutes * 60
    warm: dict[str, Size] = {}
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=5)
    async with (
        grpc.aio.insecure_channel(f"{HOST}:{front.port}") as channel,
        aiohttp.ClientSession(f"http://{HOST}:{edge.port}", connector=connector) as http,
    ):
        traffic = Traffic(channel, http)
        async with asyncio.TaskGroup() as group:
            for seed in range(options.at_once):
                group.create_task(traffic.run(seed, end_s))
            minute = 0.0
            while time.monotonic() < end_s:
                await asyncio.sleep(min(60.0, max(0.1, end_s - time.monotonic())))
                minute = options.minutes - max(0.0, end_s - time.monotonic()) / 60
                now = {name: server.size() for name, server in servers.items()}
                if not warm and minute >= options.warm_up_minutes:
                    warm = now
                for name, size in now.items():
                    print(f"| {minute:.0f} min | {name} | {size} |", flush=True)
    last = {name: server.size() for name, server in servers.items()}
    await asyncio.sleep(_SETTLE_S)
    print("requests:", dict(traffic.counts), "failed:", len(traffic.failures))
    problems = traffic.failures[:5]
    async with aiohttp.ClientSession() as http:
        left = await gauges(http, front.metrics_port)
    problems += [f"the gauge {name} is {value} at the end" for name, value in left.items()]
    await asyncio.sleep(1)
    for name, server in servers.items():
        end, before = server.size(), begin[name]
        print(f"| end | {name} | {end} | at the beginning {before} |")
        growth = last[name].resident_mb / warm[name].resident_mb - 1 if warm else 0.0
        print(f"{name}: grew by {growth:.1%} behind the warm-up")
        if growth >= _MAX_GROWTH:
            problems.append(f"{name} grew by {growth:.1%}")
        # A thread more may look into files; connections of scrapes may linger.
        if end.num_files > before.num_files + 5:
            problems.append(f"{name} has {end.num_files} files, before {before.num_files}")
        if end.num_tasks > before.num_tasks + 2:
            problems.append(f"{name} has {end.num_tasks} tasks, before {before.num_tasks}")
    return problems


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30, help="length of the run")
    parser.add_argument("--at-once", type=int, default=64, help="clients that ask at once")
    parser.add_argument(
        "--warm-up-minutes", type=float, default=5, help="growth until then is free"
    )
    options = parser.parse_args(arguments)
    # /api has no queue, and a slot is free again only when the engine has let go of it.
    with start(serve_front, 2 * options.at_once) as front, start(serve_edge, front.port) as edge:
        problems = uvloop.run(soak(options, {"front": front, "edge": edge}))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
