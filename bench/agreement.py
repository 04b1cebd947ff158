"""Whether `tokenwire bench` agrees with the engine, and what it costs to measure.

    python bench/agreement.py [--streams 32] [--rates 20 60] [--seconds 10]

An engine that generates on a clock counts its tokens and times itself, from the first request to
the last token, in a process of its own; `tokenwire bench` measures the same run through gRPC,
`/api` and `/v1`. Printed are both counts, the ratio of the rates, the CPU that the client used for
each token, and how late its event loop ran.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop
from overhead import cpu_name
from paced_engine import PacedEngine, PacedLauncher, Pacer
from paced_servers import HOST, MODEL_ID
from tokenwire import __version__
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.config import EdgeConfig
from tokenwire.load.report.result import Run, read_result
from tokenwire.logs.configure import configure_logging
from tokenwire.logs.writer import LineWriter
from tokenwire.server.app import ServerApp
from tokenwire.server.contract.engine import EngineRequest
from tokenwire.server.contract.events import EngineEvent, TextDelta
from tokenwire.server.settings.server_config import ServerConfig

_END_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Count:
    """What the engine saw."""

    num_tokens: int
    duration_s: float


class CountingEngine(PacedEngine):
    """Counts and times what it generates."""

    def __init__(self, pacer: Pacer, num_streams: int) -> None:
        super().__init__(pacer, num_streams)
        self.num_tokens = 0
        self.first_s: float | None = None
        self.last_s = 0.0

    async def generate(self, request: EngineRequest) -> AsyncGenerator[EngineEvent]:
        if self.first_s is None:
            self.first_s = time.perf_counter()
        async for event in super().generate(request):
            if isinstance(event, TextDelta):
                self.num_tokens += event.num_tokens
                self.last_s = time.perf_counter()
            yield event

    def count(self) -> Count:
        return Count(self.num_tokens, self.last_s - (self.first_s or 0.0))


async def serve(pipe: Connection, rate: float, num_streams: int) -> None:
    """Runs front and edge until the other end of `pipe` asks for the count."""
    config = ServerConfig.model_validate(
        {
            "LLM_ALLOWED_MODELS": MODEL_ID,
            "LLM_GRPC_HOSTNAME": HOST,
            "LLM_GRPC_PORT": "0",
            "LLM_METRICS_PORT": "0",
            # A stream of `/api` never waits, and a slot is free a moment after its answer.
            "LLM_MAX_CONCURRENT_REQUESTS": str(2 * num_streams),
            "LLM_MAX_TOKENS_LIMIT": str(2**31 - 1),
        }
    )
    engine = CountingEngine(Pacer(rate), 2 * num_streams)
    configure_logging(config, (), LineWriter(os.open(os.devnull, os.O_WRONLY)))
    async with ServerApp(config, PacedLauncher(engine).prepare) as app:
        ready = asyncio.Event()
        app.models.observe(lambda: ready.set() if app.models.is_ready else None)
        await ready.wait()
        edge_config = EdgeConfig.model_validate(
            {
                "LLM_INFERENCE_HOSTNAME": HOST,
                "LLM_INFERENCE_PORT": "0",
                "LLM_GRPC_TARGET": f"{HOST}:{app.port}",
            }
        )
        async with EdgeApp(edge_config) as edge:
            pipe.send((app.port, edge.port))
            await asyncio.to_thread(pipe.recv)
            pipe.send(engine.count())


def _run_child(pipe: Connection, rate: float, num_streams: int) -> None:
    uvloop.run(serve(pipe, rate, num_streams))


@contextmanager
def started(rate: float, num_streams: int) -> Generator[tuple[Connection, int, int]]:
    """Runs the servers in a process of their own; gives the pipe to it, and both ports."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_run_child, args=(there, rate, num_streams), daemon=True)
    process.start()
    there.close()
    try:
        yield (here, *here.recv())
    finally:
        process.join(_END_TIMEOUT_S)
        process.kill()


def measure(target: tuple[str, ...], num_streams: int, num_tokens: int) -> Run:
    """Runs the command, and returns what it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        # From a file: words would be fitted by requests that the engine counts, too.
        prompts = Path(folder) / "prompts.jsonl"
        prompts.write_text('{"prompt": "a prompt"}\n')
        command = (
            *(sys.executable, "-m", "tokenwire", "bench", *target, "--model", MODEL_ID),
            *("-c", str(num_streams), "-n", str(2 * num_streams), "--warmup", "0"),
            *("--output-tokens", str(num_tokens), "--dataset", str(prompts), "--out", str(out)),
        )
        subprocess.run(command, check=True, capture_output=True)
        return read_result(out).runs[0]


def compare(face: str, rate: float, num_streams: int, num_tokens: int) -> str:
    """Measures one run at both ends; returns the line of the table."""
    with started(rate, num_streams) as (pipe, grpc_port, http_port):
        target = ("--target", f"{HOST}:{grpc_port}")
        if face != "grpc":
            target = ("--face", face, "--target", f"http://{HOST}:{http_port}")
        run = measure(target, num_streams, num_tokens)
        pipe.send(None)
        count = pipe.recv()
    engine_rate = count.num_tokens / count.duration_s
    late_s = run.client.loop_lag_s.p99 if run.client.loop_lag_s else 0.0
    cells = (
        face,
        f"{num_streams} x {rate:g}",
        f"{count.num_tokens:,}",
        f"{run.tokens.output:,}",
        f"{run.throughput.output_tokens_per_s / engine_rate:.3f}",
        f"{1e6 * run.client.cpu_s / run.tokens.output:.0f}",
        f"{run.client.loop_cpu_share:.0%}",
        f"{1e3 * late_s:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--rates", type=float, nargs="+", default=[20, 60], help="tokens/s each")
    parser.add_argument("--seconds", type=float, default=10, help="length of one answer")
    options = parser.parse_args()
    lines = [
        compare(face, rate, options.streams, round(rate * options.seconds))
        for rate in options.rates
        for face in ("grpc", "rest", "openai")
    ]
    print(f"{date.today()}, tokenwire {__version__}")
    print(f"{cpu_name()}, {len(os.sched_getaffinity(0))} CPUs\n")
    print("| door | streams x tokens/s | tokens: engine | bench | rate, bench to engine", end=" | ")
    print("client, µs of CPU a token | its loop's CPU | late (p99), ms |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
