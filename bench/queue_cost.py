"""What one change of the queue costs while many wait in it.

    python bench/queue_cost.py [--waiters 10 1000 10000] [--rounds 200]

Every waiter listens for its place. Printed are the median and the largest processor time, in
microseconds, of entering and leaving (in the middle of the queue) and of being told (one turn of
the event loop's reports, which tells 64 at most), and the seconds until all were told of a change.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date

from tokenwire.server.models.ticket import QueuePlace, ReportWait, Ticket
from tokenwire.server.models.waiting_line import Waiter, WaitingLine


def timed(step: Callable[[], None]) -> float:
    """Runs a step and returns the microseconds of processor time that it took."""
    start_ns = time.thread_time_ns()
    step()
    return (time.thread_time_ns() - start_ns) / 1000


def summarize(times_us: list[float]) -> str:
    """The median and the longest."""
    return f"{statistics.median(times_us):6.1f} ({max(times_us):6.1f})"


def make_waiter(priority: int, report: ReportWait = lambda _: None) -> Waiter:
    return Waiter(Ticket(60.0, priority=priority), report)


def make_line(num_waiters: int) -> WaitingLine:
    """Half of them go before the newcomers of the middle, half of them behind."""
    line = WaitingLine(lambda waiter: QueuePlace(line.count_places_ahead(waiter) + 1, 1.0))
    for number in range(num_waiters):
        line.add(make_waiter(1 if number < num_waiters // 2 else -1))
    return line


async def measure(num_waiters: int, num_rounds: int) -> None:
    """Prints one row."""
    line = make_line(num_waiters)
    entering, leaving, turns = [], [], []
    for _ in range(num_rounds):
        # The first goes, and another comes behind all: there is news for everybody.
        line.discard(line.first)
        line.add(make_waiter(-1, lambda _: None))
        waiter = make_waiter(0, lambda _: None)
        entering.append(timed(lambda waiter=waiter: line.add(waiter)))
        leaving.append(timed(lambda waiter=waiter: line.discard(waiter)))
        # The reports that are due next, made here and not by the loop.
        if line._reporting is not None:
            line._reporting.cancel()
        turns.append(timed(line._report_some))
    line = make_line(num_waiters - 1)
    last_told = asyncio.Event()
    last = make_waiter(-1, lambda _: last_told.set())
    line.add(last)
    last_told.clear()
    start_s = time.perf_counter()
    line.discard(line.first)
    await last_told.wait()
    told_s = time.perf_counter() - start_s
    print(
        f"{num_waiters:8} {summarize(entering):>18} {summarize(leaving):>18} "
        f"{summarize(turns):>18} {told_s:10.3f}"
    )


async def run(waiters: list[int], num_rounds: int) -> None:
    print(f"{platform.machine()}, Python {platform.python_version()}, {date.today()}")
    columns = ("entering, µs", "leaving, µs", "a turn's reports", "all told, s")
    print(f"{'waiters':>8} {columns[0]:>18} {columns[1]:>18} {columns[2]:>18} {columns[3]:>10}")
    for num_waiters in waiters:
        gc.collect()
        await measure(num_waiters, num_rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--waiters", type=int, nargs="+", default=[10, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.waiters, arguments.rounds))


if __name__ == "__main__":
    main()
