"""256 paced streams through front and edge: no error, and a bounded first token.

    python bench/load.py [--streams 256] [--rate 20] [--seconds 60] [--rounds 3]

A paced engine (`paced_engine.py`) gives every stream `rate` tokens a second. Each stream is one
request of `--tokens` tokens behind another, so that first tokens are seen all the time; their
beginnings are spread over the whole run. What front and edge add to the time to first token is
what the same request takes beyond the bare gRPC server of `paced_servers.py`, at the same
percentile: a token of a paced engine waits for the next tick, there as here. The three take turns,
round by round; printed are medians of the rounds, and the least and largest of what is added.

The exit status is 1 where a request failed, or the median of what is added at the 99th percentile
is over 20 ms at the front or 40 ms behind the edge.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import aiohttp
import grpc
import uvloop
from paced_engine import TOKEN
from paced_servers import HOST, MODEL_ID, serve_bare, serve_edge, serve_front, start
from tokenwire.garbage import spare_what_is_loaded
from tokenwire.generated.tokenwire.v1 import chat_pb2, inference_pb2, inference_pb2_grpc

MAX_ADDED_MS = {"front": 20.0, "edge": 40.0}
_TOKEN = TOKEN.encode()
_MAX_SHOWN = 3


@dataclass(slots=True)
class Outcome:
    """What the requests through one door came to."""

    ttft_s: list[float] = field(default_factory=list[float])
    num_tokens: int = 0
    errors: list[str] = field(default_factory=list[str])

    def percentile_ms(self, percent: int) -> float:
        """Returns a percentile of the times to first token."""
        if len(self.ttft_s) < 2:
            return float("nan")
        return statistics.quantiles(self.ttft_s, n=100)[percent - 1] * 1000


Ask = Callable[[int, Outcome], Coroutine[None, None, None]]


def over_grpc(channel: grpc.aio.Channel) -> Ask:
    """Calls Chat."""
    stub = inference_pb2_grpc.InferenceServiceStub(channel)

    async def ask(num_tokens: int, outcome: Outcome) -> None:
        content = [chat_pb2.ContentPart(text="count")]
        message = chat_pb2.Message(role=chat_pb2.ROLE_USER, content=content)
        request = inference_pb2.ChatRequest(model=MODEL_ID, messages=[message])
        request.sampling.max_tokens = num_tokens
        begin_s = time.perf_counter()
        num_got = 0
        async for response in stub.Chat(request):
            texts = sum(len(delta.text.text) for delta in response.deltas.deltas)
            if texts and not num_got:
                outcome.ttft_s.append(time.perf_counter() - begin_s)
            num_got += texts // len(TOKEN)
        _count(num_got, num_tokens, outcome)

    return ask


def over_sse(session: aiohttp.ClientSession) -> Ask:
    """Calls the route that streams a chat."""

    async def ask(num_tokens: int, outcome: Outcome) -> None:
        messages = [{"role": "user", "content": "count"}]
        body = {"model": MODEL_ID, "messages": messages, "max_tokens": num_tokens}
        begin_s = time.perf_counter()
        got = b""
        async with session.post("/api/chat/stream", json=body, raise_for_status=True) as response:
            async for chunk in response.content.iter_any():
                if _TOKEN in chunk and _TOKEN not in got:
                    outcome.ttft_s.append(time.perf_counter() - begin_s)
                got += chunk
        _count(got.count(_TOKEN), num_tokens, outcome)

    return ask


def _count(num_got: int, num_asked: int, outcome: Outcome) -> None:
    outcome.num_tokens += num_got
    if num_got != num_asked:
        raise RuntimeError(f"{num_got} tokens of {num_asked}")


async def load(ask: Ask, options: argparse.Namespace) -> Outcome:
    """Keeps all streams going for the time of the run."""
    outcome = Outcome()
    end_s = time.monotonic() + options.seconds

    async def stream(delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        while time.monotonic() < end_s:
            try:
                await ask(options.tokens, outcome)
            except (grpc.aio.AioRpcError, aiohttp.ClientError, RuntimeError) as error:
                outcome.errors.append(f"{type(error).__name__}: {error}"[:300])

    spread_s = min(options.tokens / options.rate, options.seconds / 2)
    async with asyncio.TaskGroup() as group:
        for number in range(options.streams):
            group.create_task(stream(spread_s * number / options.streams))
    return outcome


async def measure(options: argparse.Namespace) -> dict[str, list[Outcome]]:
    """Loads the bare server, the front, and the edge before it in turn; an outcome a round."""
    with ExitStack() as servers:
        bare = servers.enter_context(start(serve_bare, options.rate))
        front = servers.enter_context(start(serve_front, options.rate, options.streams))
        edge = servers.enter_context(start(serve_edge, front.port))
        outcomes: dict[str, list[Outcome]] = {"bare": [], "front": [], "edge": []}
        for _ in range(options.rounds):
            for name, server in (("bare", bare), ("front", front)):
                async with grpc.aio.insecure_channel(f"{HOST}:{server.port}") as channel:
                    outcomes[name].append(await load(over_grpc(channel), options))
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(
                f"http://{HOST}:{edge.port}", connector=connector
            ) as session:
                outcomes["edge"].append(await load(over_sse(session), options))
        return outcomes


def report(outcomes: dict[str, list[Outcome]]) -> bool:
    """Prints what was measured; returns whether all of it is within the bounds."""
    is_good = True
    print("| through | requests | errors | first token p50 | p99 | added p50 | added p99 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, rounds in outcomes.items():
        cells = [str(sum(len(each.ttft_s) for each in rounds))]
        errors = [error for each in rounds for error in each.errors]
        cells.append(str(len(errors)))
        for percent in (50, 99):
            cells.append(
                f"{statistics.median(each.percentile_ms(percent) for each in rounds):.1f} ms"
            )
        added_ms = {
            percent: [
                each.percentile_ms(percent) - bare.percentile_ms(percent)
                for each, bare in zip(rounds, outcomes["bare"], strict=True)
            ]
            for percent in (50, 99)
        }
        for added in added_ms.values():
            median = statistics.median(added)
            cells.append(f"{median:.1f} ({min(added):.1f} to {max(added):.1f}) ms")
        bound = MAX_ADDED_MS.get(name)
        is_good &= not errors and (bound is None or statistics.median(added_ms[99]) < bound)
        print(f"| {' | '.join([name, *cells])} |")
        for error in errors[:_MAX_SHOWN]:
            print(f"  {name}: {error}", file=sys.stderr)
    return is_good


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, default=256, help="streams at once")
    parser.add_argument("--rate", type=float, default=20, help="tokens a second of each stream")
    parser.add_argument("--seconds", type=float, default=60, help="length of each turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each of the three")
    parser.add_argument("--tokens", type=int, default=60, help="tokens of each request")
    options = parser.parse_args(arguments)
    spare_what_is_loaded()  # no pause of this client's own is to count as a server's
    return 0 if report(uvloop.run(measure(options))) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
