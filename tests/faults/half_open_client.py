"""A client at the end of a cable: `python half_open_client.py HOST GRPC_PORT HTTP_PORT MODEL`.

It says a line once both of its streams have said something, and reads on.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import grpc
from tokenwire.generated.tokenwire.v1 import inference_pb2, inference_pb2_grpc


async def over_grpc(target: str, model: str, told: asyncio.Event) -> None:
    """Reads a stream of the front."""
    request = inference_pb2.GenerateRequest(model=model, text="over-grpc")
    request.sampling.max_tokens = 4000
    async with grpc.aio.insecure_channel(target) as channel:
        async for response in inference_pb2_grpc.InferenceServiceStub(channel).Generate(request):
            if response.HasField("deltas"):
                told.set()


async def over_http(address: str, model: str, told: asyncio.Event) -> None:
    """Reads a stream of the edge."""
    body = {"model": model, "text": "over-http", "sampling": {"maxTokens": 4000}}
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=timeout) as http,
        http.post(f"{address}/tokenwire/v1/generate", json=body) as response,
    ):
        async for line in response.content:
            if b"deltas" in line:
                told.set()


async def main(host: str, grpc_port: str, http_port: str, model: str) -> None:
    """Reads both."""
    told = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(over_grpc(f"{host}:{grpc_port}", model, told[0]))
        tasks.create_task(over_http(f"http://{host}:{http_port}", model, told[1]))
        for event in told:
            await event.wait()
        sys.stdout.write("told\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
