"""A thousand streams over gRPC and SSE, while engine, edge, clients and connections are killed."""

from __future__ import annotations

import asyncio
import random
import sys

import pytest
from tokenwire.server.settings.server_config import ServerConfig

from .callers import Stream
from .chaos import Chaos, run_streams
from .numbered import whole_text
from .processes import Front, running_edge, running_front

SEED = 12
HAS_CONTINUATION = "crash_continuation" in ServerConfig.model_fields
# With continuation an engine's death is not told; a poison is, and none of these is one.
HONEST = set[str]() if HAS_CONTINUATION else {"ENGINE_LOST"}


def numbered_streams(num_streams: int, seed: int) -> list[Stream]:
    """Streams of the scripted child: a fifth leaves, a third takes its stream up again."""
    rng = random.Random(seed)
    streams = []
    for i in range(num_streams):
        num_tokens = rng.randrange(20, 120)
        name = f"s{seed}-{i}"
        streams.append(
            Stream(
                name,
                name,
                whole_text(name, num_tokens),
                num_tokens,
                rng.getrandbits(32),
                leaves=rng.random() < 0.2,
                resumes=rng.random() < 0.33,
            )
        )
    return streams


async def settled(front: Front) -> None:
    """Waits until nothing runs and nothing waits."""
    async with asyncio.timeout(60):
        while await front.gauge("llm_requests_in_flight") or await front.gauge("llm_queue_depth"):
            await asyncio.sleep(0.05)  # it is another process


def assert_clean(chaos: Chaos) -> None:
    """Nothing was lost or doubled, and each stream ended in one of the ways it may."""
    assert chaos.findings == []
    allowed = {"finished", "left", "cut"} | HONEST
    assert not set(chaos.ends) - allowed, chaos.ends


@pytest.mark.faults
async def test_a_thousand_streams() -> None:
    """Each has one end, no gap and no repetition; slots, tasks, descriptors and memory come back."""
    async with (
        running_front(
            pace_s=0.03,
            LLM_MAX_CONCURRENT_REQUESTS="64",
            LLM_MAX_QUEUED_REQUESTS="1000",
        ) as front,
        running_edge(front) as edge,
    ):
        held = []
        for part in range(5):
            chaos = await run_streams(
                front,
                edge,
                numbered_streams(200, SEED + part),
                model="test/scripted",
                seed=SEED + part,
                at_once=96,
                pause_s=(0.2, 1.0),
            )
            sys.stderr.write(f"{chaos.ends} {chaos.faults} {chaos.max_open} {chaos.recovery_s}\n")
            assert_clean(chaos)
            await settled(front)
            held.append(await front.tell())
            sys.stderr.write(f"{held[-1]}\n")
    assert held[-1].tasks <= held[0].tasks
    assert held[-1].descriptors <= held[0].descriptors
    assert held[-1].resident_bytes < 1.05 * held[1].resident_bytes
