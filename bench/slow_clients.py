"""What slow clients cost others: 200 of them, of each kind, from slowhttptest.

    python bench/slow_clients.py [--connections 200] [--seconds 90]

Needs the Debian package slowhttptest. A front with an engine on a clock and an edge run in a
process of their own, at their default limits; requests go through them one after the other, first
alone and then beside slow headers, slow bodies and slow reading. Printed are the median and the
95th percentile of a whole answer in milliseconds, the ratio of the medians to those just before the
slow clients came, and after how many seconds the edge had closed all of the slow connections.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import re
import statistics
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import date
from multiprocessing.connection import Connection

import aiohttp
from paced_engine import PacedEngine, PacedLauncher, Pacer
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.config import EdgeConfig
from tokenwire.server.app import ServerApp
from tokenwire.server.preparation.kits import config_class

MODEL_ID = "bench/paced"
RATE = 200.0
BODY = {"model": MODEL_ID, "prompt": "Hi", "max_tokens": 4}
NUM_ALONE = 100

# What slowhttptest sends of each kind. Bodies are JSON, or they would be refused before they come;
# the file to read slowly is the largest there is.
KINDS = {
    "slow headers": ("-H", "-i", "1", "-u", "{url}/api/llms"),
    "slow body": (
        *("-B", "-i", "1", "-s", "65536", "-f", "application/json"),
        *("-u", "{url}/api/generate"),
    ),
    "slow read": (
        *("-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "3"),
        *("-u", "{url}/swagger-ui/swagger-ui-bundle.js"),
    ),
}


@asynccontextmanager
async def serving() -> AsyncGenerator[str]:
    """A front and an edge with everything at its default but the ports."""
    own = {"LLM_GRPC_HOSTNAME": "127.0.0.1", "LLM_GRPC_PORT": "0", "LLM_METRICS_PORT": "0"}
    config = config_class().model_validate({**own, "LLM_ALLOWED_MODELS": MODEL_ID})
    async with ServerApp(config, PacedLauncher(PacedEngine(Pacer(RATE), 8)).prepare) as front:
        edge_config = EdgeConfig.model_validate(
            {
                "LLM_INFERENCE_HOSTNAME": "127.0.0.1",
                "LLM_INFERENCE_PORT": "0",
                "LLM_GRPC_TARGET": f"127.0.0.1:{front.port}",
            }
        )
        async with EdgeApp(edge_config) as edge:
            yield f"http://127.0.0.1:{edge.port}"


def serve(pipe: Connection) -> None:
    """Serves until something comes through the pipe; its log lines go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    async def run() -> None:
        async with serving() as url:
            pipe.send(url)
            await asyncio.to_thread(pipe.poll, None)

    asyncio.run(run())


async def ask(http: aiohttp.ClientSession) -> float:
    """Takes the time of one whole answer, in seconds."""
    start_s = time.perf_counter()
    async with http.post("/api/generate", json=BODY) as response:
        assert response.status == 200, await response.text()
        await response.read()
    return time.perf_counter() - start_s


def tell(name: str, times_s: list[float], before_s: float) -> None:
    """Prints a row."""
    median_s = statistics.median(times_s)
    late_s = statistics.quantiles(times_s, n=20)[-1]
    ratio = f"{median_s / before_s:.2f}"
    print(
        f"{name:14} {median_s * 1e3:8.1f} {late_s * 1e3:8.1f} {ratio:>6} {len(times_s):6}", end=""
    )


async def beside(
    http: aiohttp.ClientSession, url: str, kind: str, args: argparse.Namespace
) -> None:
    """Asks alone, then as long as the slow clients of a kind run."""
    alone_s = statistics.median([await ask(http) for _ in range(NUM_ALONE)])
    count, seconds = str(args.connections), str(args.seconds)
    process = await asyncio.create_subprocess_exec(
        *("slowhttptest", "-c", count, "-r", count, "-l", seconds, "-x", "8"),
        *(part.replace("{url}", url) for part in KINDS[kind]),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    ended = asyncio.ensure_future(process.communicate())
    times_s: list[float] = []
    while not ended.done():
        times_s.append(await ask(http))
    output, _ = await ended
    end = re.search(rb"Test ended on (\d+)", output)
    are_left = b"No open connections left" not in output
    tell(kind, times_s, alone_s)
    print(f" {'never' if are_left or end is None else end[1].decode() + ' s':>6}")


async def run(args: argparse.Namespace, url: str) -> None:
    """Measures every kind."""
    machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"
    print(f"{args.connections} slow clients, {args.seconds} s at most. {date.today()}, {machine}")
    print(f"{'':14} {'median':>8} {'p95':>8} {'ratio':>6} {'asked':>6} {'closed':>6}")
    async with aiohttp.ClientSession(url) as http:
        while True:  # until the model serves
            async with http.get("/health/ready") as response:
                if response.status == 200:
                    break
            await asyncio.sleep(0.1)
        await ask(http)
        for kind in KINDS:
            await beside(http, url, kind, args)


def main() -> None:
    """Reads the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=90)
    args = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    process.start()
    try:
        asyncio.run(run(args, ours.recv()))
    finally:
        ours.send(None)
        process.join()


if __name__ == "__main__":
    main()
