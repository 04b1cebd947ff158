"""Half an hour of everything at once: nothing may grow, and all that is counted comes back to zero.

    python bench/soak.py [--minutes 30] [--at-once 64] [--warm-up-minutes 5] [--rate 20]

Clients ask a front with a paced engine over gRPC and over SSE, with answers of mixed lengths; some
leave in the middle, some ask for what is refused or have no time, some are cut off and resume.
Front and edge are processes of their own. Printed, a line a minute, are resident memory, open
files, threads and tasks of each; at the end, what is left of them once nobody asks any more.

The exit status is 1 where a request failed that should not, a token was lost or came twice, memory
grew by 5 % or more behind the warm-up, or a gauge, files or tasks did not come back.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import aiohttp
import grpc
import uvloop
from paced_engine import TOKEN
from paced_servers import HOST, MODEL_ID, Server, serve_edge, serve_front, start
from server_sizes import Size, read_gauges
from tokenwire.generated.tokenwire.v1 import inference_pb2, inference_pb2_grpc

_MAX_GROWTH = 0.05
_LENGTHS = (1, 5, 20, 20, 60, 200)
_SETTLE_S = 30.0
# Well under it: what has ended is kept for so long, and counts as kept.
_DETACH_S = 5
_SHORT_S = 0.2
_MAX_SHOWN = 3
_ID = re.compile(r"^id: (.+)$", re.MULTILINE)
_TEXT = re.compile(r'^data: {"text":"([^"]*)"', re.MULTILINE)


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
        deeds = (
            *(self._stream, self._stream, self._sse, self._sse, self._leave, self._leave_sse),
            *(self._fail, self._fail_sse, self._hurry, self._resume, self._resume_sse),
        )
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
        assert _count(responses) == num_tokens

    async def _leave(self, num_tokens: int) -> None:
        call = self._stub.Generate(_request(num_tokens))
        await call.read()
        call.cancel()

    async def _fail(self, _: int) -> None:
        request = _request(5)
        request.sampling.temperature = 9
        call = self._stub.Generate(request)
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT

    async def _hurry(self, num_tokens: int) -> None:
        call = self._stub.Generate(_request(num_tokens), timeout=_SHORT_S)
        assert await call.code() in (grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED)

    async def _resume(self, num_tokens: int) -> None:
        request = _request(num_tokens)
        request.detach_timeout.FromSeconds(_DETACH_S)
        request_id = uuid.uuid4().hex
        call = self._stub.Generate(request, metadata=(("x-request-id", request_id),))
        before = [await call.read() for _ in range(2)]  # `started` and the first text
        call.cancel()
        again = inference_pb2.GenerateRequest()
        again.resume.request_id = request_id
        again.resume.after_position = before[-1].position
        responses = [each async for each in self._stub.Generate(again)]
        assert responses[-1].finished.usage.num_completion_tokens == num_tokens
        assert _count([*before, *responses]) == num_tokens

    async def _sse(self, num_tokens: int) -> None:
        async with self._http.post("/api/generate/stream", json=_body(num_tokens)) as response:
            text = await response.text()
        assert response.status == 200, text
        assert _count_in(text) == num_tokens, f"{num_tokens}: {text[-300:]}"

    async def _leave_sse(self, num_tokens: int) -> None:
        async with self._http.post("/api/generate/stream", json=_body(num_tokens)) as response:
            await response.content.readany()
            response.close()

    async def _fail_sse(self, num_tokens: int) -> None:
        wrong = {"temperature": "hot"} if num_tokens < 20 else {"model": "nobody/nothing"}
        body = {**_body(5), **wrong}
        async with self._http.post("/api/generate/stream", json=body) as response:
            await response.read()
        assert response.status == 400, response.status

    async def _resume_sse(self, num_tokens: int) -> None:
        body = {**_body(num_tokens), "detach_timeout": _DETACH_S}
        async with self._http.post("/api/generate/stream", json=body) as response:
            request_id = response.headers["X-Request-Id"]
            before = (await response.content.readuntil(b"\n\n")).decode()
            response.close()
        headers = {"Last-Event-ID": _ID.findall(before)[-1]}
        async with self._http.get(f"/api/streams/{request_id}", headers=headers) as response:
            text = before + await response.text()
        assert response.status == 200, text
        assert _count_in(text) == num_tokens, f"{num_tokens}: {text[-300:]}"
        assert _ID.findall(text)[-1] == "end"


def _request(num_tokens: int) -> inference_pb2.GenerateRequest:
    request = inference_pb2.GenerateRequest(model=MODEL_ID, text="go " * (num_tokens % 50 + 1))
    request.sampling.max_tokens = num_tokens
    return request


def _body(num_tokens: int) -> dict[str, Any]:
    return {"model": MODEL_ID, "prompt": "go", "max_tokens": num_tokens}


def _count(responses: Sequence[inference_pb2.GenerateResponse]) -> int:
    texts = [delta.text.text for response in responses for delta in response.deltas.deltas]
    return "".join(texts).count(TOKEN)


async def soak(options: argparse.Namespace, servers: Mapping[str, Server]) -> list[str]:
    """Asks for the time of the run, and returns what is wrong."""
    begin = {name: Size.of(server) for name, server in servers.items()}
    begin_gauges = await read_all_gauges(servers)
    end_s = time.monotonic() + options.minutes * 60
    warm: dict[str, Size] = {}
    last: dict[str, Size] = {}
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=5)
    async with (
        grpc.aio.insecure_channel(f"{HOST}:{servers['front'].port}") as channel,
        aiohttp.ClientSession(f"http://{HOST}:{servers['edge'].port}", connector=connector) as http,
    ):
        traffic = Traffic(channel, http)
        async with asyncio.TaskGroup() as group:
            for seed in range(options.at_once):
                group.create_task(traffic.run(seed, end_s))
            while time.monotonic() < end_s:
                await asyncio.sleep(min(60.0, max(0.1, end_s - time.monotonic())))
                minute = options.minutes - max(0.0, end_s - time.monotonic()) / 60
                last = {name: Size.of(server) for name, server in servers.items()}
                if not warm and minute >= options.warm_up_minutes:
                    warm = last
                for name, size in last.items():
                    print(f"| {minute:.0f} min | {name} | {size} |", flush=True)
    print("requests:", dict(traffic.counts), "failed:", len(traffic.failures))
    problems = _sorted_out(traffic.failures)
    problems += await settle(servers, begin_gauges)
    for name, server in servers.items():
        end, before = Size.of(server), begin[name]
        print(f"| end | {name} | {end} | at the beginning {before} |")
        if warm:
            growth = last[name].resident_mb / warm[name].resident_mb - 1
            print(f"{name}: grew by {growth:.1%} behind the warm-up")
            if growth >= _MAX_GROWTH:
                problems.append(f"{name} grew by {growth:.1%}")
        # A thread more may look into files; connections of scrapes may linger.
        if end.num_files > before.num_files + 5:
            problems.append(f"{name} has {end.num_files} files, before {before.num_files}")
        if end.num_tasks > before.num_tasks + 2:
            problems.append(f"{name} has {end.num_tasks} tasks, before {before.num_tasks}")
    return problems


def _count_in(events: str) -> int:
    return "".join(_TEXT.findall(events)).count(TOKEN)


def _sorted_out(failures: Sequence[str]) -> list[str]:
    """Returns some of each kind of failure."""
    kinds = Counter[str]()
    shown = list[str]()
    for failure in failures:
        kind = failure.partition(":")[0]
        kinds[kind] += 1
        if kinds[kind] <= _MAX_SHOWN:
            shown.append(failure)
    return [*shown, *(f"{kind} failed {number} times" for kind, number in kinds.items())]


async def settle(servers: Mapping[str, Server], begin: Mapping[str, float]) -> list[str]:
    """Waits until every gauge is where it was at the beginning; returns those that are not."""
    end_s = time.monotonic() + _SETTLE_S
    while True:
        now = await read_all_gauges(servers)
        wrong = [
            f"{series} is {value:g} at the end, was {begin.get(series, 0.0):g}"
            for series, value in now.items()
            if value != begin.get(series, 0.0)
        ]
        if not wrong or time.monotonic() > end_s:
            print(f"gauges: {len(now)}, {len(wrong)} of them not as at the beginning")
            return wrong
        await asyncio.sleep(0.5)


async def read_all_gauges(servers: Mapping[str, Server]) -> dict[str, float]:
    """Reads the gauges of all servers, with their names before them."""
    # Connections of its own, which are closed behind it: they are files of the servers.
    async with aiohttp.ClientSession() as http:
        return {
            f"{name}: {series}": value
            for name, server in servers.items()
            for series, value in (await read_gauges(server, http)).items()
        }


def main(arguments: Sequence[str]) -> int:
    """Soaks, prints what was seen, and returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30, help="length of the run")
    parser.add_argument("--at-once", type=int, default=64, help="clients that ask at once")
    parser.add_argument(
        "--warm-up-minutes", type=float, default=5, help="growth until then is free"
    )
    parser.add_argument("--rate", type=float, default=20, help="tokens a second of each stream")
    options = parser.parse_args(arguments)
    # /api has no queue, and a slot is free again only when the engine has let go of it.
    num_slots = 2 * options.at_once
    with (
        start(serve_front, options.rate, num_slots) as front,
        start(serve_edge, front.port) as edge,
    ):
        problems = uvloop.run(soak(options, {"front": front, "edge": edge}))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
