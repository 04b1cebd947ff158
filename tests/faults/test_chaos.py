"""A thousand streams over gRPC and SSE, while engine, edge, clients and connections are killed."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Sequence

import pytest
from tokenwire.server.settings.server_config import ServerConfig

from ..conftest import MODEL_ID
from .callers import GrpcCaller, Stream
from .chaos import Chaos, Crowd, replaced_engine, run_streams
from .history import End, check
from .lines import line_to
from .numbered import whole_text
from .processes import Held, eventually, running_edge, running_front
from .results import longest, note
from .table import CHAOS

SEED = 12
NUM_PROMPTS = 10
REAL_FAULTS = ("engine", "connection", "edge", "hang", "connection", "engine", "connection")
HAS_CONTINUATION = "crash_continuation" in ServerConfig.model_fields
# With continuation an engine's death is not told; a poison is, and none of these is one.
HONEST = {"GENERATION_FAILED"} if HAS_CONTINUATION else {"ENGINE_LOST"}


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


def assert_clean(chaos: Chaos) -> None:
    """Nothing was lost or doubled, and each stream ended in one of the ways it may."""
    assert chaos.findings == []
    allowed = {"finished", "left", "cut", *HONEST}
    assert not set(chaos.ends) - allowed, chaos.ends
    # Killed while it was the only one that had come back, twice: docs/reliability.md.
    assert chaos.ends["GENERATION_FAILED"] <= len(chaos.histories) // 20


async def test_the_short_form() -> None:
    """One engine is killed under 24 streams over gRPC: each is whole, with one end."""
    async with (
        running_front(pace_s=0.02, LLM_MAX_CONCURRENT_REQUESTS="24") as front,
        line_to(front.port) as line,
    ):
        caller = GrpcCaller(line, "test/scripted")
        streams = [Stream(f"s{i}", f"s{i}", whole_text(f"s{i}", 40), 40, i) for i in range(24)]
        reading = [asyncio.create_task(caller.run(stream)) for stream in streams]
        async with asyncio.timeout(60):
            await asyncio.gather(*(stream.told.wait() for stream in streams))
            await replaced_engine(front)
            histories = await asyncio.gather(*reading)
        await caller.channel.close()
        await eventually(front.is_idle)
    assert [finding for history in histories for finding in check(history)] == []
    assert {history.end for history in histories} == {End.FINISHED}


@pytest.mark.faults
@pytest.mark.timeout(1800)
async def test_a_thousand_streams() -> None:
    """Each has one end, no gap, no repetition; slots, tasks, descriptors and memory come back."""
    held, parts = list[Held](), list[Chaos]()
    async with (
        running_front(
            pace_s=0.03,
            LLM_MAX_CONCURRENT_REQUESTS="64",
            LLM_MAX_QUEUED_REQUESTS="1000",
            LLM_HANG_TIMEOUT_S="2",
        ) as front,
        running_edge(front) as edge,
    ):
        for seed in range(SEED, SEED + 5):
            streams = numbered_streams(200, seed)
            crowd = Crowd("test/scripted", streams, at_once=96, pause_s=(0.2, 1.0))
            parts.append(await run_streams(front, edge, crowd, seed))
            assert_clean(parts[-1])
            await eventually(front.is_idle)
            held.append(await front.tell())
    assert held[-1].tasks <= held[0].tasks
    # The connection of an edge, which is killed now and then, may be there or not.
    assert held[-1].descriptors <= held[0].descriptors + 2
    assert held[-1].resident_bytes < 1.05 * held[1].resident_bytes
    resumed = sum((part.resumed for part in parts), Counter[str]())
    assert all(resumed[name] for name in ("gRPC", "Native", "Api")), resumed
    assert not resumed["OpenAi"]
    note_chaos("scripted", parts)


@pytest.mark.faults
@pytest.mark.timeout(1800)
async def test_a_hundred_streams_of_llama_cpp() -> None:
    """On the real engine each text is that of an undisturbed run, or its beginning."""
    chaos = await hundred_real_streams(LLM_ENGINE="llamacpp")
    note_chaos("llama.cpp", [chaos])


@pytest.mark.faults
@pytest.mark.timeout(1800)
async def test_a_hundred_streams_of_sglang() -> None:
    """On the other real engine, too, though each of its restarts takes half a minute."""
    chaos = await hundred_real_streams(LLM_ENGINE="sglang", LLM_DEVICE="cpu")
    note_chaos("SGLang", [chaos])


async def hundred_real_streams(**engine: str) -> Chaos:
    """Runs prompts without faults, and then a hundred streams of the same prompts with them."""
    async with (
        running_front(
            LLM_ALLOWED_MODELS=MODEL_ID,
            LLM_MAX_MODEL_LEN="512",
            LLM_MAX_CONCURRENT_REQUESTS="8",
            LLM_MAX_QUEUED_REQUESTS="200",
            LLM_HANG_TIMEOUT_S="5",
            **engine,
        ) as front,
        running_edge(front) as edge,
    ):
        calm = [counting_stream(i, "") for i in range(NUM_PROMPTS)]
        undisturbed = await run_streams(
            front, edge, Crowd(MODEL_ID, calm, at_once=24, pause_s=None), SEED
        )
        wholes = {history.name: history.text for history in undisturbed.histories}
        streams = [counting_stream(i, wholes[f"s-{i % NUM_PROMPTS}"]) for i in range(100)]
        crowd = Crowd(MODEL_ID, streams, at_once=24, pause_s=(3.0, 6.0), faults=REAL_FAULTS)
        chaos = await run_streams(front, edge, crowd, SEED)
        assert_clean(chaos)
        assert chaos.faults["engine"] >= 2
        assert chaos.faults["hang"] >= 1
        await eventually(front.is_idle)
    return chaos


def counting_stream(i: int, whole: str) -> Stream:
    """A prompt that leaves the model no choice: rounding turns none of its tokens."""
    rng = random.Random(i)
    first = 10 + i % NUM_PROMPTS
    prompt = ", ".join(str(number) for number in range(first, first + 9)) + ","
    return Stream(
        f"s-{i}",
        prompt,
        whole,
        24,
        i,
        leaves=bool(whole) and rng.random() < 0.2,
        resumes=rng.random() < 0.33,
    )


def note_chaos(engine: str, parts: Sequence[Chaos]) -> None:
    """Keeps what was found, and shows how the streams ended."""
    ends = sum((part.ends for part in parts), Counter[str]())
    faults = sum((part.faults for part in parts), Counter[str]())
    sys.stderr.write(f"{engine}: {ends} behind {faults}\n")
    findings = [finding.kind for part in parts for finding in part.findings]
    note(
        CHAOS[engine],
        num_tried=faults.total(),
        num_open=ends.total(),
        num_lost=findings.count("lost"),
        num_doubled=findings.count("doubled"),
        recovery_s=longest([time_s for part in parts for time_s in part.recovery_s]),
    )
