"""What `tokenwire bench` shows: a bar while it measures, and the numbers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ...lifecycle import end_tasks
from ...load.measurement import Measurement
from ...load.pace import Extent
from ...load.report.result import Result, Run, encode_result
from ...load.report.summary import Setting
from ...load.report.wording import (
    SPREAD_TITLES,
    describe_goodput,
    describe_load,
    describe_requests,
    describe_tokens,
    describe_workload,
    rate,
    spread_rows,
)

_REFRESH_S = 0.25
_PIPE_WIDTH = 120


class BenchView:
    """Numbers go to standard output, everything beside them to standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        self._out = Console(width=width, highlight=False, markup=False)
        self._err = Console(stderr=True, highlight=False, markup=False)

    def introduce(self, setting: Setting) -> None:
        """Says what is about to be measured."""
        target = setting.target
        self._tell(f"{target.model}, {target.task}, {target.face} at {target.address}")
        self._tell(describe_load(setting.load))
        self._tell(describe_workload(setting.workload))

    @asynccontextmanager
    async def follow(self, measurement: Measurement, extent: Extent) -> AsyncGenerator[None]:
        """Shows in the block how far the measurement is; nothing where no terminal is there."""
        columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[numbers]}"))
        with Progress(
            *columns,
            console=self._err,
            transient=True,
            disable=not self._err.is_terminal,
            auto_refresh=False,
        ) as bar:
            task = bar.add_task("", total=1.0, numbers="")

            async def refresh() -> None:
                while True:
                    bar.update(
                        task,
                        completed=_share(measurement, extent),
                        numbers=_numbers(measurement),
                        refresh=True,
                    )
                    await asyncio.sleep(_REFRESH_S)

            refreshing = asyncio.create_task(refresh()) if self._err.is_terminal else None
            try:
                yield
            finally:
                if refreshing is not None:
                    await end_tasks(refreshing)

    def show(self, run: Run, result: Result) -> None:
        """Prints the numbers of a run."""
        for sentence in run.client.warnings:
            self._tell(f"Warning: {sentence}", "yellow")
        if run.is_partial:
            self._tell("Interrupted: these are the answers that were whole by then.", "yellow")
        if self._as_json:
            sys.stdout.write(encode_result(result).decode())
            return
        self._out.print()
        self._out.print(describe_requests(run))
        throughput = run.throughput
        self._out.print(
            f"{rate(throughput.requests_per_s)} requests/s, "
            f"{rate(throughput.output_tokens_per_s)} output tokens/s, "
            f"{rate(throughput.input_tokens_per_s)} input tokens/s"
        )
        table = Table("", *SPREAD_TITLES, box=None)
        for column in table.columns[1:]:
            column.justify = "right"
        for name, cells in spread_rows(run):
            table.add_row(name, *cells)
        self._out.print(table)
        goodput = describe_goodput(run)
        if goodput:
            self._out.print(f"goodput: {goodput}")
        for line in describe_tokens(run):
            self._out.print(line)
        for error in run.errors:
            self._out.print(f"{error.count} x {error.kind}: {error.example}", soft_wrap=True)

    def _tell(self, sentence: str, style: str = "dim") -> None:
        self._err.print(Text(sentence, style), soft_wrap=True)


def _share(measurement: Measurement, extent: Extent) -> float:
    """How much is done: of the requests or of the time, whichever is further."""
    progress = measurement.progress
    shares = [0.0]
    if extent.num_requests is not None:
        shares.append((progress.num_whole + progress.num_failed) / extent.num_requests)
    if extent.duration_s is not None:
        shares.append(measurement.elapsed_s / extent.duration_s)
    return min(1.0, max(shares))


def _numbers(measurement: Measurement) -> str:
    progress = measurement.progress
    speed = progress.num_output_tokens / max(measurement.elapsed_s, 1e-9)
    parts = [
        f"{progress.num_whole} whole",
        f"{progress.num_in_flight} in flight",
        f"{rate(speed)} tokens/s",
    ]
    parts += [f"{progress.num_failed} failed"] if progress.num_failed else []
    return ", ".join(parts)
