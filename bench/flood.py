"""What large requests that cannot fit do to the front: time, health, memory.

    python bench/flood.py [--requests 150] [--megabytes 3.9] [--connections 10]

Starts a front with the built-in model on llama.cpp, and sends all requests at once, each of them
over the context. Health is asked every 50 ms meanwhile, and the memory of the front is read from
/proc. Prints the time until the last refusal, the longest answer of health, and the memory after a
first request, at its peak and two seconds after the last.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
import time
from collections import Counter
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tokenwire.generated.tokenwire.v1 import chat_pb2, inference_pb2

MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
METHOD = "/tokenwire.v1.InferenceService/Chat"
START_S = 120


def resident_mb(pid: int) -> int:
    """Reads how much memory a process holds, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def request_of(num_bytes: int) -> bytes:
    """Makes a conversation of that size, serialized once for all calls."""
    text = "word " * (num_bytes // 5)
    message = chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart(text=text)])
    return inference_pb2.ChatRequest(model=MODEL_ID, messages=[message]).SerializeToString()


class Watch:
    """Asks for health and memory until it is told to stop."""

    def __init__(self, target: str, pid: int) -> None:
        self._target = target
        self._pid = pid
        self.is_over = False
        self.peak_mb = 0
        self.longest_health_s = 0.0

    async def run(self) -> None:
        async with grpc.aio.insecure_channel(self._target) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while not self.is_over:
                self.peak_mb = max(self.peak_mb, resident_mb(self._pid))
                start_s = time.monotonic()
                await health.Check(health_pb2.HealthCheckRequest(service="readiness"))
                self.longest_health_s = max(self.longest_health_s, time.monotonic() - start_s)
                await asyncio.sleep(0.02)


async def refuse(channel: grpc.aio.Channel, data: bytes, ends: Counter[str]) -> None:
    call = channel.unary_stream(
        METHOD, request_serializer=lambda it: it, response_deserializer=lambda it: it
    )(data)
    try:
        async for _ in call:
            pass
        ends["OK"] += 1
    except grpc.aio.AioRpcError as error:
        ends[f"{error.code().name}: {error.details()}"] += 1


async def measure(target: str, pid: int, options: argparse.Namespace) -> None:
    data = request_of(round(options.megabytes * 1e6))
    own = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own for each channel
    channels = [grpc.aio.insecure_channel(target, own) for _ in range(options.connections)]
    # One first: it fills what every server fills with its first request.
    await refuse(channels[0], data, Counter())
    await asyncio.sleep(2)
    before_mb = resident_mb(pid)
    watch = Watch(target, pid)
    watching = asyncio.create_task(watch.run())
    ends: Counter[str] = Counter()
    start_s = time.monotonic()
    await asyncio.gather(
        *(refuse(channels[at % len(channels)], data, ends) for at in range(options.requests))
    )
    took_s = time.monotonic() - start_s
    await asyncio.sleep(2)
    watch.is_over = True
    await watching
    for channel in channels:
        await channel.close()
    print(
        "| requests | refused within, s | longest health, s | before, MB | peak, MB | after, MB |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    print(
        f"| {options.requests} x {len(data) / 1e6:.1f} MB | {took_s:.2f} "
        f"| {watch.longest_health_s:.2f} | {before_mb} | {watch.peak_mb} | {resident_mb(pid)} |"
    )
    for end, count in ends.items():
        print(f"{count} times {end}")


async def wait_ready(target: str) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="readiness")
        async for response in health.Watch(request, timeout=START_S, wait_for_ready=True):
            if response.status == health_pb2.HealthCheckResponse.SERVING:
                return


async def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=150, help="sent at once")
    parser.add_argument("--megabytes", type=float, default=3.9, help="of each request")
    parser.add_argument("--connections", type=int, default=10, help="that they are sent over")
    options = parser.parse_args()
    port, metrics_port = free_port(), free_port()
    environment = os.environ | {
        "LLM_ALLOWED_MODELS": MODEL_ID,
        "LLM_ENGINE": "llamacpp",
        "LLM_GRPC_PORT": str(port),
        "LLM_METRICS_PORT": str(metrics_port),
        "LOG_LEVEL": "error",
    }
    print("starting a front", file=sys.stderr)
    front = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tokenwire", "server", env=environment
    )
    try:
        await wait_ready(f"127.0.0.1:{port}")
        print("sending", file=sys.stderr)
        await measure(f"127.0.0.1:{port}", front.pid, options)
    finally:
        front.terminate()
        await front.wait()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
