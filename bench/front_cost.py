"""What front and edge cost: CPU per streamed token, beside a bare gRPC server.

    python bench/front_cost.py [--streams 64] [--rates 20 200] [--rounds 5] [--seconds 4]

A paced engine (`paced_engine.py`) inside the front gives every stream `rate` tokens a second. The
bare server is nothing but grpc.aio: it writes the same messages at the same pace, from the same
pacer, so that both sides pay for that alike. Front, bare server, edge and this load client each run
in a process of their own. Bare server, front, and edge with front take turns, round by round.

Measured is the CPU time of the server's process, user and system, from the moment when all streams
run until they are cut, divided by the tokens that the client counted. A server that does not keep
up may put several tokens into one message, which makes them cheaper: see "tokens a message".
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import date

import aiohttp
import grpc
import uvloop
from overhead import cpu_name
from paced_engine import TOKEN
from paced_servers import (
    HOST,
    MODEL_ID,
    Server,
    serve_bare,
    serve_edge,
    serve_front,
    start,
)
from tokenwire import __version__
from tokenwire.generated.tokenwire.v1 import chat_pb2, inference_pb2, inference_pb2_grpc

# Between the moment when all streams run and the first look at the clocks.
_SETTLE_S = 1.0
_BEGIN_TIMEOUT_S = 30.0
# Tokens that a stream could go on for, in seconds: it is cut long before.
_MARGIN_S = 120.0
_EXIT_INTERRUPTED = 130

_TOKEN = TOKEN.encode()
_SSE_EVENT = b"data: "


@dataclass(slots=True)
class Tally:
    """What the client has got on all its streams together."""

    num_to_begin: int
    have_begun: asyncio.Event = field(default_factory=asyncio.Event)
    num_tokens: int = 0
    num_messages: int = 0

    def record_begin(self) -> None:
        """Counts a stream whose server has accepted it."""
        self.num_to_begin -= 1
        if self.num_to_begin == 0:
            self.have_begun.set()


Stream = Callable[[int, Tally], Coroutine[None, None, None]]


def over_grpc(channel: grpc.aio.Channel) -> Stream:
    """Calls Chat."""
    stub = inference_pb2_grpc.InferenceServiceStub(channel)

    async def run(max_tokens: int, tally: Tally) -> None:
        async for response in stub.Chat(_chat(max_tokens)):
            if response.HasField("started"):
                tally.record_begin()
                continue
            tally.num_messages += 1
            for delta in response.deltas.deltas:
                tally.num_tokens += len(delta.text.text) // len(TOKEN)

    return run


def over_sse(session: aiohttp.ClientSession) -> Stream:
    """Calls the route that streams a chat."""

    async def run(max_tokens: int, tally: Tally) -> None:
        messages = [{"role": "user", "content": "count"}]
        body = {"model": MODEL_ID, "messages": messages, "max_tokens": max_tokens}
        async with session.post("/api/chat/stream", json=body, raise_for_status=True) as response:
            tally.record_begin()
            # What a chunk cuts in two is counted with the next one.
            tail = b""
            async for chunk in response.content.iter_any():
                text = tail + chunk
                tail = text[1 - len(_TOKEN) :]
                tally.num_tokens += text.count(_TOKEN)
                tally.num_messages += chunk.count(_SSE_EVENT)

    return run


def _chat(max_tokens: int) -> inference_pb2.ChatRequest:
    content = [chat_pb2.ContentPart(text="count")]
    request = inference_pb2.ChatRequest(
        model=MODEL_ID, messages=[chat_pb2.Message(role=chat_pb2.ROLE_USER, content=content)]
    )
    request.sampling.max_tokens = max_tokens
    return request


async def check_same(*channels: grpc.aio.Channel) -> None:
    """Checks that all servers begin a stream with messages of the same kinds and sizes."""

    async def beginning(channel: grpc.aio.Channel) -> list[tuple[str, int]]:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        call = stub.Chat(_chat(100))
        first = [await call.read() for _ in range(4)]
        call.cancel()
        return [(message.WhichOneof("event"), message.ByteSize()) for message in first]

    for _ in range(20):  # a hiccup may join two tokens
        one, *others = [await beginning(channel) for channel in channels]
        if all(other == one for other in others):
            return
    raise RuntimeError(f"the servers do not write the same messages: {one}, {others}")


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: µs of CPU a token, tokens a message, and tokens got of those paced."""

    cost_us: float
    tokens_a_message: float
    share: float


async def measure(
    stream: Stream, server: Server, num_streams: int, rate: float, seconds: float
) -> Sample:
    """Runs all streams at once for a while."""
    tally = Tally(num_streams)
    max_tokens = round(rate * (seconds + _MARGIN_S))
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(stream(max_tokens, tally)) for _ in range(num_streams)]
        async with asyncio.timeout(_BEGIN_TIMEOUT_S):
            await tally.have_begun.wait()
        await asyncio.sleep(_SETTLE_S)
        tokens, messages = tally.num_tokens, tally.num_messages
        start_s, cpu_s = time.perf_counter(), server.cpu_s()
        await asyncio.sleep(seconds)
        took_s, cpu_s = time.perf_counter() - start_s, server.cpu_s() - cpu_s
        tokens, messages = tally.num_tokens - tokens, tally.num_messages - messages
        for task in running:
            task.cancel()
    return Sample(cpu_s / tokens * 1e6, tokens / messages, tokens / (num_streams * rate * took_s))


async def compare(
    bare: Server, front: Server, edge: Server, rate: float, options: argparse.Namespace
) -> str:
    """Measures the three in turn, and returns a line of the table."""
    samples: dict[str, list[Sample]] = {"bare": [], "front": [], "edge": []}
    async with (
        grpc.aio.insecure_channel(f"{HOST}:{bare.port}") as to_bare,
        grpc.aio.insecure_channel(f"{HOST}:{front.port}") as to_front,
        aiohttp.ClientSession(
            f"http://{HOST}:{edge.port}", connector=aiohttp.TCPConnector(limit=0)
        ) as session,
    ):
        await check_same(to_bare, to_front)
        ways = {
            "bare": (over_grpc(to_bare), bare),
            "front": (over_grpc(to_front), front),
            "edge": (over_sse(session), edge),
        }
        for number in range(options.rounds):
            for name, (stream, server) in ways.items():
                sample = await measure(stream, server, options.streams, rate, options.seconds)
                samples[name].append(sample)
                print(
                    f"{options.streams} x {rate:g} tokens/s, round {number + 1} of "
                    f"{options.rounds}, {name}: {sample.cost_us:.1f} µs a token, "
                    f"{sample.tokens_a_message:.2f} tokens a message, {sample.share:.0%} delivered",
                    file=sys.stderr,
                )
    costs = {name: [sample.cost_us for sample in found] for name, found in samples.items()}
    ratios = [one / other for one, other in zip(costs["front"], costs["bare"], strict=True)]
    joined = [
        f"{statistics.median(sample.tokens_a_message for sample in found):.1f}"
        for found in samples.values()
    ]
    cells = (
        f"{options.streams} x {rate:g}",
        _spread(costs["bare"], 0),
        _spread(costs["front"], 0),
        _spread(ratios, 2),
        _spread(costs["edge"], 0),
        ", ".join(joined),
    )
    return f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float], digits: int) -> str:
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{median:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


def main() -> None:
    """Measures every rate, and prints one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=64, help="streams at once")
    parser.add_argument("--rates", type=float, nargs="+", default=[20, 200], help="tokens/s each")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each")
    parser.add_argument("--seconds", type=float, default=4, help="length of one measurement")
    options = parser.parse_args()
    # As the command sets it for the servers; the children inherit it.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    lines: list[str] = []
    for rate in options.rates:
        with (
            start(serve_bare, rate) as bare,
            start(serve_front, rate, options.streams) as front,
            start(serve_edge, front.port) as edge,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            lines.append(runner.run(compare(bare, front, edge, rate, options)))
    print(f"{date.today()}, tokenwire {__version__}, grpcio {grpc.__version__}")
    print(f"{cpu_name()}, {len(os.sched_getaffinity(0))} CPUs\n")
    print("| streams x tokens/s | bare, µs | front, µs | ratio | edge beside it, µs", end=" | ")
    print("tokens a message: bare, front, edge |\n| --- | --- | --- | --- | --- | --- |")
    print("\n".join(lines))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(_EXIT_INTERRUPTED)
