"""What every fuzzing run does: seeded cases, several at once, the first bad one cut down.

`TOKENWIRE_FUZZ_CASES` is how many cases each long run has, `TOKENWIRE_FUZZ_SEED` their seed, and
`TOKENWIRE_FUZZ_ONLY` the number of the one case to repeat.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Final

# What an answer must never hold: the inside of a program in Python, and where it stands.
_INSIDE: Final = re.compile(
    r"Traceback|File \"|<class| object at 0x|\b[A-Za-z]*(?:Error|Exception)\b(?<!_Error)"
    r"|\bNoneType\b|\bNone\b|\bself\.|__\w+__|\.py\b|site-packages|/(?:usr|tmp|home|root|work)/"
    r"|\b(?:aiohttp|grpcio|protobuf|pydantic|orjson|asyncio|protovalidate|llguidance)\b"
    r"|\b(?:int|str|bytes|float|dict|tuple) object\b|\b[a-z]+_pb2\b|codec can't"
)
_MAX_GROWTH_PER_CASE: Final = 1000
"""Bytes that this process may grow by for each case behind the first fifth: 10 MB in 10,000."""
_SLACK_BYTES: Final = 32 << 20
_SHRINKING_TRIES: Final = 400

Judge = Callable[[bytes], Awaitable[str]]
"""Sends an input and says what is wrong with what came of it; empty where nothing is."""


def inside_of(text: str) -> str:
    """Returns what an answer tells of the inside, empty where it tells nothing."""
    found = _INSIDE.search(text)
    return "" if found is None else f"tells {found[0]!r}: {text[:600]}"


def num_cases(default: int) -> int:
    """Returns how many cases a long run has."""
    return int(os.environ.get("TOKENWIRE_FUZZ_CASES", default))


async def fuzz(
    number: int,
    make: Callable[[Random], tuple[str, bytes]],
    judge_of: Callable[[str], Judge],
    is_healthy: Callable[[], Awaitable[bool]],
    *,
    num_at_once: int = 16,
) -> None:
    """Judges `number` inputs. `make` gives an input and its kind, `judge_of` the judge of a kind.

    The first input that is judged bad fails the test, with what is left of it after cutting pieces
    off as long as it stays bad. `is_healthy` is asked now and then, all the while.
    """
    seed = os.environ.get("TOKENWIRE_FUZZ_SEED", "1")
    only = os.environ.get("TOKENWIRE_FUZZ_ONLY")
    indices = iter([int(only)] if only else range(number))
    failures: list[tuple[int, str, bytes, str]] = []
    num_done = base = 0

    async def work() -> None:
        nonlocal num_done, base
        for index in indices:
            if failures:
                return
            kind, data = make(Random(f"{seed}/{index}"))
            problem = await judge_of(kind)(data)
            if problem:
                failures.append((index, kind, data, problem))
            num_done += 1
            if num_done == number // 5:
                base = _resident_bytes()
            if num_done % 500 == 0:
                async with asyncio.timeout(10):
                    assert await is_healthy(), f"not healthy behind case {index} of seed {seed}"

    async with asyncio.TaskGroup() as group:
        for _ in range(num_at_once):
            group.create_task(work())
    if failures:
        index, kind, data, problem = failures[0]
        least = await _shrink(data, judge_of(kind))
        raise AssertionError(
            f"case {index} of seed {seed}, {kind}: {problem}\n"
            f"{len(data)} bytes: {data[:2000]!r}\ncut down to {len(least)}: {least[:2000]!r}"
        )
    assert await is_healthy()
    growth = _resident_bytes() - base
    if base:
        assert growth < _SLACK_BYTES + number * _MAX_GROWTH_PER_CASE, f"grew by {growth} bytes"


async def _shrink(data: bytes, judge: Judge) -> bytes:
    """Cuts pieces off an input, ever smaller ones, as long as it is still judged bad."""
    num_left = _SHRINKING_TRIES
    size = max(1, len(data) // 2)
    while size and num_left > 0:
        start = 0
        while start < len(data) and num_left > 0:
            shorter = data[:start] + data[start + size :]
            num_left -= 1
            if await judge(shorter):
                data = shorter
            else:
                start += size
        size //= 2
    return data


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
