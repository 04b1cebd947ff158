"""This service beside llama.cpp's own server and SGLang's own: same machine, same model, same load.

    python bench/peers.py [--minutes 8] [--only llamacpp]

Four servers run: each engine's own, and this service on each engine; all have 8 slots of 1,024
tokens, one thread, a prefix cache, and are idle unless it is their turn. `tokenwire bench` measures
each one through each of its doors, in turn, another one first in each round, with other words in
each round: no more than the beginning of the chat template can be cached. Printed are the medians
of the rounds, and the ratios of the pairs: median, least and largest.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from overhead import cpu_name
from tokenwire import __version__
from tokenwire.load.report.comparison import Ratio, compare
from tokenwire.load.report.result import Result, read_result
from tokenwire.server.contract.engine_settings import ModelFiles, ModelFormat
from tokenwire.server.contract.model_id import DEFAULT_MODEL
from tokenwire.server.engines.llama_cpp.child.unpacking import unpack, unpacked_path
from tokenwire.server.engines.sglang.cpu import COMPAT_FOLDER, cpu_environment
from tokenwire.server.engines.sglang.front.converted import provide_converted
from unpacking import built_in_file

HOST = "127.0.0.1"
NUM_SLOTS, SLOT_TOKENS = 8, 1024
LOAD = ("-c", "4", "--input-tokens", "64", "--output-tokens", "16", "--temperature", "0")
MEASURES = ("output tokens", "TTFT p50", "ITL p50", "TPOT p50", "end to end p50")
NAMES = {"llamacpp": "llama.cpp", "sglang": "SGLang"}
_START_TIMEOUT_S = 300.0
_END_TIMEOUT_S = 30.0
# Beside the seed of a round, where the same server is measured through a second door.
_OTHER_SEEDS = 1000


@dataclass(frozen=True, slots=True)
class Server:
    """A server: how it is started, and the address that says when it is ready."""

    command: tuple[str, ...]
    environment: dict[str, str]
    ready_url: str


@dataclass(frozen=True, slots=True)
class Door:
    """What is measured; `base` is the engine's own server, None for that itself."""

    name: str
    arguments: tuple[str, ...]
    seed_offset: int = 0
    base: str | None = None


def free_port() -> int:
    """Finds a port that nobody listens on."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


def llama_cpp_own() -> tuple[Server, str]:
    """llama.cpp's server with the weights that this service unpacks; and its address."""
    path = unpacked_path(built_in_file())
    if not path.exists():
        unpack(built_in_file(), path)
    url = f"http://{HOST}:{(port := free_port())}"
    script = str(Path(__file__).with_name("llama_cpp_server.py"))
    sizes = ("--slots", str(NUM_SLOTS), "--context", str(SLOT_TOKENS), "--threads", "1")
    command = (sys.executable, script, str(path), "--port", str(port), *sizes)
    return Server(command, {}, f"{url}/health"), url


def sglang_own() -> tuple[Server, str]:
    """SGLang's server with the folder that this service converts; and its address."""
    files = ModelFiles(DEFAULT_MODEL.repo, ModelFormat.GGUF, built_in_file())
    folder = asyncio.run(provide_converted(files, lambda _: None)).path
    url = f"http://{HOST}:{(port := free_port())}"
    environment = {**cpu_environment(1), "PYTHONPATH": str(COMPAT_FOLDER), "HF_HUB_OFFLINE": "1"}
    command = (
        *(sys.executable, "-m", "sglang.launch_server", "--model-path", str(folder)),
        *("--host", HOST, "--port", str(port), "--device", "cpu", "--dtype", "float32"),
        *("--max-running-requests", str(NUM_SLOTS), "--context-length", str(SLOT_TOKENS)),
        *("--max-total-tokens", str(NUM_SLOTS * SLOT_TOKENS), "--sleep-on-idle"),
    )
    return Server(command, environment, f"{url}/health"), url


def tokenwire(engine: str) -> tuple[Server, str, str]:
    """This service on one of the engines; its address for gRPC, and that for HTTP."""
    grpc_port, http_port = free_port(), free_port()
    environment = {
        "LLM_ENGINE": engine,
        "LLM_ALLOWED_MODELS": DEFAULT_MODEL.repo,
        "LLM_ENABLE_PREFIX_CACHING": "true",
        # As SGLang's own server has it: with pages of 32 the prefix cache gives whole pages only.
        "LLM_PAGED_ATTENTION_BLOCK_SIZE": "1",
        "LLM_MAX_CONCURRENT_REQUESTS": str(NUM_SLOTS),
        "LLM_MAX_MODEL_LEN": str(SLOT_TOKENS),
        "LLM_NUM_THREADS": "1",
        "LLM_GRPC_HOSTNAME": HOST,
        "LLM_GRPC_PORT": str(grpc_port),
        "LLM_INFERENCE_HOSTNAME": HOST,
        "LLM_INFERENCE_PORT": str(http_port),
        "LLM_METRICS_PORT": "0",
    }
    url = f"http://{HOST}:{http_port}"
    command = (sys.executable, "-m", "tokenwire", "serve")
    return Server(command, environment, f"{url}/health/ready"), f"{HOST}:{grpc_port}", url


def plan(engines: Sequence[str]) -> tuple[list[Server], list[Door]]:
    """Returns what is started and what is measured."""
    servers: list[Server] = []
    doors: list[Door] = []
    for engine in engines:
        own, own_url = llama_cpp_own() if engine == "llamacpp" else sglang_own()
        ours, grpc_address, http_url = tokenwire(engine)
        servers += [own, ours]
        base = f"{NAMES[engine]}'s own server, /v1"
        model = ("--model", DEFAULT_MODEL.repo)
        doors += [
            Door(base, ("--target", own_url)),
            Door(
                f"tokenwire on {NAMES[engine]}, gRPC", ("--target", grpc_address, *model), 0, base
            ),
            Door(
                f"tokenwire on {NAMES[engine]}, /v1",
                ("--target", http_url, *model),
                _OTHER_SEEDS,
                base,
            ),
        ]
    return servers, doors


@contextmanager
def running(server: Server, log: Path) -> Generator[None]:
    """Runs a server, and ends it with all of its processes."""
    with log.open("w") as output:
        process = subprocess.Popen(
            server.command,
            env={**os.environ, **server.environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def await_ready(server: Server, log: Path) -> None:
    """Returns once a server answers that it is ready."""
    ends_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < ends_s:
        try:
            with urllib.request.urlopen(server.ready_url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass  # not yet, or not ready
        time.sleep(0.5)
    raise SystemExit(f"{' '.join(server.command)} did not start:\n{log.read_text()[-2000:]}")


def measure(door: Door, seed: int, out: Path, num_requests: int) -> None:
    """Runs `tokenwire bench` once, and adds the run to a file."""
    command = (sys.executable, "-m", "tokenwire", "bench", *door.arguments, *LOAD)
    sizes = ("-n", str(num_requests), "--warmup", "2", "--seed", str(seed + door.seed_offset))
    kept = ("--label", door.name, "--out", str(out), "--append")
    done = subprocess.run((*command, *sizes, *kept), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{door.name}: {done.stderr or done.stdout}")


def print_tables(results: dict[str, Result], doors: Sequence[Door]) -> None:
    """Prints the medians of each door, and the ratios of the pairs."""
    base_ratios = {door.name: _ratios(results[door.name], results[door.name]) for door in doors}
    print(
        "\n| | output tokens/s | TTFT p50, ms | ITL p50, ms | TPOT p50, ms | end to end p50, ms |"
    )
    print("|" + " --- |" * 6)
    for name, ratios in base_ratios.items():
        cells = [
            f"{ratio.first:.1f}" if ratio.unit == "1/s" else f"{1e3 * ratio.first:.0f}"
            for ratio in ratios
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    print("\n| ratio | pairs | output tokens/s | TTFT p50 | ITL p50 | TPOT p50 | end to end p50 |")
    print("|" + " --- |" * 7)
    owns = [door.name for door in doors if door.base is None]
    pairs = [(door.base, door.name) for door in doors if door.base is not None]
    if len(owns) == len(NAMES):
        pairs.append((owns[1], owns[0]))
    for base, name in pairs:
        ratios = _ratios(results[base], results[name])
        cells = [f"{ratio.ratio:.2f} ({ratio.least:.2f} to {ratio.most:.2f})" for ratio in ratios]
        num_pairs = len(results[name].runs)
        print(f"| {name}, to {base} | {num_pairs} | {' | '.join(cells)} |")


def _ratios(first: Result, second: Result) -> list[Ratio]:
    found = {ratio.name: ratio for ratio in compare(first, second).ratios}
    return [found[name] for name in MEASURES]


def main() -> None:
    """Starts the servers, takes turns while there is time, and prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8, help="for all of it")
    parser.add_argument("--requests", type=int, default=8, help="of each run")
    parser.add_argument("--only", choices=NAMES, help="one engine")
    options = parser.parse_args()
    ends_s = time.monotonic() + 60 * options.minutes
    servers, doors = plan([options.only] if options.only else list(NAMES))
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        logs = [folder / f"{index}.log" for index in range(len(servers))]
        for server, log in zip(servers, logs, strict=True):
            stack.enter_context(running(server, log))
        for server, log in zip(servers, logs, strict=True):
            await_ready(server, log)
        files = {door.name: folder / f"{index}.json" for index, door in enumerate(doors)}
        for door in doors:  # the first requests of an engine compile and fill caches
            measure(door, 0, folder / "first.json", 2)
        num_rounds, round_s = 0, 0.0
        while num_rounds < 2 or time.monotonic() + round_s < ends_s - _END_TIMEOUT_S:
            began_s = time.monotonic()
            first = num_rounds % len(doors)
            num_rounds += 1
            for door in (*doors[first:], *doors[:first]):
                measure(door, num_rounds, files[door.name], options.requests)
            round_s = time.monotonic() - began_s
            print(f"round {num_rounds}: {round_s:.0f} s", file=sys.stderr, flush=True)
        results = {door.name: read_result(files[door.name]) for door in doors}
    print(f"{date.today()}, tokenwire {__version__}, {num_rounds} rounds of {options.requests}")
    print(f"{cpu_name()}, {len(os.sched_getaffinity(0))} CPUs")
    print_tables(results, doors)


if __name__ == "__main__":
    main()
