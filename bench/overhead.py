"""What front and edge cost: the same work on one engine, called directly, over gRPC and over SSE.

    python bench/overhead.py [--engine llamacpp] [--pairs 5] [--tokens 64] [--streams 1 8]

All three ways lead to the same engine, which is started once. They alternate within each
round, so that a machine whose speed drifts slows all of them. Printed are the medians of tokens per
second, and the ratios to the direct call, round by round: median, least and largest.

With `--telemetry` as well a second front and edge share that engine, one request in ten traced to a
collector; the first ones count and log no request. Their ratio is what it costs to be seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from tokenwire import __version__
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.config import EdgeConfig
from tokenwire.generated.tokenwire.v1 import inference_pb2, inference_pb2_grpc
from tokenwire.logs.standard_error import StandardError
from tokenwire.server.app import ServerApp
from tokenwire.server.contract.engine import Engine, EngineRequest, SamplingParams
from tokenwire.server.contract.events import TextDelta
from tokenwire.server.contract.load_progress import ReportProgress
from tokenwire.server.contract.prompts import TextPrompt
from tokenwire.server.models.model_state import PreparedModel
from tokenwire.server.preparation.kits import config_class

MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PROMPT = "Once upon a time, in a small village by the sea,"

Way = Callable[[int], Awaitable[None]]


async def measure(way: Way, num_streams: int, num_tokens: int) -> float:
    """Runs `num_streams` at once and returns their tokens per second together."""
    start_s = time.perf_counter()
    await asyncio.gather(*(way(num_tokens) for _ in range(num_streams)))
    return num_streams * num_tokens / (time.perf_counter() - start_s)


def directly(engine: Engine) -> Way:
    """Calls the engine inside this process, with nothing between."""

    async def run(num_tokens: int) -> None:
        prompt = await engine.render(TextPrompt(PROMPT))
        params = SamplingParams(temperature=0.0, top_p=1.0, max_tokens=num_tokens, ignore_eos=True)
        request = EngineRequest(uuid.uuid4().hex, prompt, params)
        count = 0
        async with aclosing(engine.generate(request)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    count += event.num_tokens
        assert count == num_tokens

    return run


def over_grpc(channel: grpc.aio.Channel) -> Way:
    """Calls Generate over a socket."""
    stub = inference_pb2_grpc.InferenceServiceStub(channel)

    async def run(num_tokens: int) -> None:
        request = inference_pb2.GenerateRequest(model=MODEL_ID, text=PROMPT)
        request.sampling.temperature = 0
        request.sampling.max_tokens = num_tokens
        request.sampling.ignore_eos = True
        num_completion_tokens = 0
        async for response in stub.Generate(request):
            num_completion_tokens = response.finished.usage.num_completion_tokens
        assert num_completion_tokens == num_tokens

    return run


def over_sse(session: aiohttp.ClientSession) -> Way:
    """Calls the canonical route over HTTP."""
    body = {"model": MODEL_ID, "text": PROMPT}

    async def run(num_tokens: int) -> None:
        sampling = {"temperature": 0, "maxTokens": num_tokens, "ignoreEos": True}
        last = b""
        async with session.post(
            "/tokenwire/v1/generate", json={**body, "sampling": sampling}
        ) as response:
            async for line in response.content:
                if line.startswith(b"data: "):
                    last = line
        usage = json.loads(last.removeprefix(b"data: "))["finished"]["usage"]
        assert usage["numCompletionTokens"] == num_tokens

    return run


async def compare(ways: dict[str, Way], pairs: int, num_streams: int, num_tokens: int) -> None:
    """Prints one table: each way's speed, and its ratio to the first one."""
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        await measure(way, num_streams, 8)  # warm-up
    for _ in range(pairs):
        for name, way in ways.items():
            speeds[name].append(await measure(way, num_streams, num_tokens))
    base = next(iter(speeds.values()))
    print(f"\n{num_streams} streams of {num_tokens} tokens, {pairs} rounds")
    print(f"{'way':<10}{'tokens/s':>10}{'ratio':>8}{'least':>8}{'largest':>9}")
    for name, values in speeds.items():
        ratios = [value / reference for value, reference in zip(values, base, strict=True)]
        print(
            f"{name:<10}{statistics.median(values):>10.1f}{statistics.median(ratios):>8.2f}"
            f"{min(ratios):>8.2f}{max(ratios):>9.2f}"
        )


def cpu_name() -> str:
    """Returns what the processor calls itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


class SharedEngine:
    """An engine that whoever started it ends."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:  # whatever an engine has
        return getattr(self._engine, name)

    async def close(self) -> None:
        pass

    async def launch(self, report: ReportProgress) -> Any:  # noqa: ARG002 - it has been launched
        return self

    async def prepare(self, model_id: str, report: ReportProgress) -> PreparedModel:  # noqa: ARG002
        return PreparedModel(self)


@asynccontextmanager
async def collector() -> AsyncGenerator[str]:
    """Takes spans and drops them; gives its address."""

    async def export(_request: bytes, _context: object) -> bytes:
        return b""

    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "opentelemetry.proto.collector.trace.v1.TraceService",
                {"Export": grpc.unary_unary_rpc_method_handler(export)},
            ),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def serve(front: ServerApp, **variables: str) -> AsyncGenerator[dict[str, Way]]:
    """Runs a front and an edge; gives the two ways through them."""
    async with front:
        ready = asyncio.Event()
        front.models.observe(lambda: ready.set() if front.models.is_ready else None)
        await ready.wait()
        edge_config = EdgeConfig.model_validate(
            {
                "LLM_INFERENCE_HOSTNAME": "127.0.0.1",
                "LLM_INFERENCE_PORT": "0",
                "LLM_GRPC_TARGET": f"127.0.0.1:{front.port}",
                **variables,
            }
        )
        async with (
            EdgeApp(edge_config) as edge,
            grpc.aio.insecure_channel(f"127.0.0.1:{front.port}") as channel,
            aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as session,
        ):
            yield {"gRPC": over_grpc(channel), "SSE": over_sse(session)}


async def main() -> None:
    """Starts the service once and compares the ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=["llamacpp", "sglang"], default="llamacpp")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--telemetry", action="store_true", help="what traces and metrics cost")
    options = parser.parse_args()
    variables = {
        "LLM_ALLOWED_MODELS": MODEL_ID,
        "LLM_ENGINE": options.engine,
        "LLM_GRPC_HOSTNAME": "127.0.0.1",
        "LLM_GRPC_PORT": "0",
        "LLM_METRICS_PORT": "0",
        "LLM_MAX_CONCURRENT_REQUESTS": str(max(options.streams)),
        "LLM_MAX_MODEL_LEN": "1024",
        "LOG_LEVEL": "warning",
    }
    server_config = config_class().model_validate(variables)
    StandardError().log(server_config)
    front = ServerApp(server_config)
    if options.telemetry:
        # Neither has a switch of its own: metrics and log lines are made by observers.
        front._requests._observers = ()
    async with serve(front) as ways, collector() as endpoint:
        engine = front.models.route(MODEL_ID).model.engine
        print(f"{date.today()}, tokenwire {__version__}, {engine.info.engine}, {MODEL_ID}")
        print(f"{cpu_name()}, {len(os.sched_getaffinity(0))} CPUs")
        print("client, front and edge in one process")
        if not options.telemetry:
            for num_streams in options.streams:
                await compare(
                    {"direct": directly(engine), **ways},
                    options.pairs,
                    num_streams,
                    options.tokens,
                )
            return
        tracing = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.1",
        }
        seen = config_class().model_validate(variables | tracing)
        async with serve(ServerApp(seen, SharedEngine(engine).prepare), **tracing) as seen_ways:
            for num_streams in options.streams:
                for name, way in ways.items():
                    pair = {f"{name} bare": way, f"{name} seen": seen_ways[name]}
                    await compare(pair, options.pairs, num_streams, options.tokens)


if __name__ == "__main__":
    asyncio.run(main())
