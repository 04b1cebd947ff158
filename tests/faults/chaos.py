"""Many streams at once, while engine, edge and connections are killed at random times."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from .callers import GrpcCaller, Stream
from .history import End, Finding, History, check
from .lines import Line, line_to
from .processes import Edge, Front, eventually
from .sse_caller import DIALECTS, SseCaller

_NUM_LINES = 9
ALL_FAULTS = ("engine", "engine", "hang", "edge", "connection", "connection")
"""What happens at random, each as often as it stands here."""
_ENDS_OF_ENGINES = {"engine": signal.SIGKILL, "hang": signal.SIGSTOP}


@dataclass
class Chaos:
    """What happened to a crowd of streams, and what each of them saw."""

    histories: list[History] = field(default_factory=list[History])
    faults: Counter[str] = field(default_factory=Counter[str])
    recovery_s: list[float] = field(default_factory=list[float])
    """From the death of an engine to the next one that serves; of a hang, from its beginning."""
    resumed: Counter[str] = field(default_factory=Counter[str])
    """How many streams were taken up again, by the way that their clients call."""
    num_open: int = 0
    max_open: int = 0

    @property
    def findings(self) -> list[Finding]:
        """What is wrong with the histories."""
        return [finding for history in self.histories for finding in check(history)]

    @property
    def ends(self) -> Counter[str]:
        """How the streams ended, failures by their reason."""
        return Counter(
            history.reason if history.end is End.FAILED else str(history.end and history.end.value)
            for history in self.histories
        )


@dataclass(frozen=True, slots=True)
class Crowd:
    """Streams of a model, `at_once` at a time, with a fault each pause; None: without faults.

    The first faults are `faults` in their order, so that each happens; then they are drawn.
    """

    model: str
    streams: Sequence[Stream]
    at_once: int
    pause_s: tuple[float, float] | None
    faults: Sequence[str] = ALL_FAULTS


async def run_streams(front: Front, edge: Edge, crowd: Crowd, seed: int) -> Chaos:
    """Runs the streams over gRPC and SSE; `seed` draws the faults."""
    chaos = Chaos()
    # asyncio's debug mode is for tests of a few requests.
    loop = asyncio.get_running_loop()
    is_debug = loop.get_debug()
    loop.set_debug(False)
    async with AsyncExitStack() as opened:
        opened.callback(loop.set_debug, is_debug)
        lines = [
            [await opened.enter_async_context(line_to(port)) for _ in range(_NUM_LINES)]
            for port in (front.port, edge.port)
        ]
        runs: list[tuple[str, Callable[[Stream], Awaitable[History]]]] = []
        for line in lines[0]:
            caller = GrpcCaller(line, crowd.model)
            opened.push_async_callback(caller.channel.close)
            runs.append(("gRPC", caller.run))
        for i, line in enumerate(lines[1]):
            dialect = DIALECTS[i % len(DIALECTS)]
            over_http = SseCaller(line, crowd.model, lambda: edge.num_kills, dialect)
            opened.push_async_callback(over_http.session.close)
            runs.append((type(dialect).__name__, over_http.run))
        places = asyncio.Semaphore(crowd.at_once)

        async def run_one(i: int, stream: Stream) -> None:
            async with places:
                chaos.num_open += 1
                chaos.max_open = max(chaos.max_open, chaos.num_open)
                try:
                    name, run = runs[i % len(runs)]
                    history = await run(stream)
                    chaos.histories.append(history)
                    chaos.resumed[name] += len(history.calls) > 1
                finally:
                    chaos.num_open -= 1

        everything = _Everything(front, edge, [*lines[0], *lines[1]])
        hurting = asyncio.create_task(_hurt(chaos, everything, random.Random(seed), crowd))
        async with asyncio.TaskGroup() as tasks:
            for i, stream in enumerate(crowd.streams):
                tasks.create_task(run_one(i, stream))
        hurting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await hurting
    return chaos


@dataclass(frozen=True, slots=True)
class _Everything:
    """What may be killed."""

    front: Front
    edge: Edge
    lines: Sequence[Line]


async def _hurt(chaos: Chaos, everything: _Everything, rng: random.Random, crowd: Crowd) -> None:
    """Hurts one thing after another, for as long as it is let."""
    coming = list(crowd.faults)
    while crowd.pause_s is not None:
        await asyncio.sleep(rng.uniform(*crowd.pause_s))  # the pace of the faults, not a wait
        fault = coming.pop(0) if coming else rng.choice(crowd.faults)
        if fault in _ENDS_OF_ENGINES:
            took_s = await replaced_engine(everything.front, _ENDS_OF_ENGINES[fault])
            chaos.recovery_s.append(took_s)
        elif fault == "edge":
            await everything.edge.kill()
            await everything.edge.start()
        else:
            rng.choice(everything.lines).cut()
        chaos.faults[fault] += 1


async def replaced_engine(front: Front, how: signal.Signals = signal.SIGKILL) -> float:
    """Kills the engine that serves; returns the seconds until the next one does."""

    async def is_replaced() -> bool:
        return (
            await front.is_serving()
            and await front.gauge("llm_engine_restarts_total") > num_restarts
        )

    await eventually(front.is_serving)
    num_restarts = await front.gauge("llm_engine_restarts_total")
    start_s = time.monotonic()
    for pid in front.engine_pids:
        os.kill(pid, how)
    await eventually(is_replaced)
    return time.monotonic() - start_s
