"""`tokenwire bench`: warms up, measures, and writes what came of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import uvloop

from ... import __version__
from ...environment import EXIT_CONFIGURATION, ConfigurationError
from ...lifecycle import EXIT_INTERRUPTED, Shutdown, end_tasks, shutdown_signals
from ...load.faces.face import Face, LoadRequest, RequestFailed, Sending
from ...load.measurement import Measurement
from ...load.report.page import write_page
from ...load.report.result import Result, ResultMistake, Run, Target, encode_result, write_whole
from ...load.report.summary import Setting, summarise
from ...load.workload.words import WordFit, fit_words
from .options import BenchOptions
from .view import BenchView

EXIT_FAILURE = 1


def run(options: BenchOptions) -> int:
    """Measures in an event loop of its own; returns and raises as `measure_and_report`."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure_and_report(options))


async def measure_and_report(options: BenchOptions) -> int:
    """Measures, prints and writes; returns the exit status.

    Raises:
        ConfigurationError: options or variables hold mistakes.
    """
    mistakes = options.find_mistakes()
    if mistakes:
        raise ConfigurationError(mistakes)
    earlier = options.earlier()
    view = BenchView(as_json=options.as_json)
    try:
        measured = await _Bench(options, view).run()
    except RequestFailed as failure:
        sys.stderr.write(f"{failure.kind}: {failure}{_hint(failure)}\n")
        return EXIT_FAILURE
    if measured is None:
        sys.stderr.write("Interrupted: there is nothing to report.\n")
        return EXIT_INTERRUPTED
    view.show(measured, Result.of(measured))
    try:
        _write(options, Result.of(*(earlier.runs if earlier else ()), measured))
    except ResultMistake as mistake:
        sys.stderr.write(f"{mistake}\n")
        return EXIT_CONFIGURATION
    if measured.is_partial:
        return EXIT_INTERRUPTED
    return 0 if measured.requests.whole else EXIT_FAILURE


def _write(options: BenchOptions, result: Result) -> None:
    if options.out is not None:
        write_whole(options.out, encode_result(result))
    if options.html is not None:
        write_whole(options.html, write_page(result).encode())


def _hint(failure: RequestFailed) -> str:
    is_about_eos = "ignore_eos" in str(failure)
    return " (try --no-ignore-eos)" if is_about_eos else ""


class _Bench:
    """One measurement with what goes before it."""

    def __init__(self, options: BenchOptions, view: BenchView) -> None:
        self._options = options
        self._view = view
        self._running: Measurement | None = None

    async def run(self) -> Run | None:
        """Returns what was measured; None: Ctrl-C came before.

        The first Ctrl-C ends a measurement, and leaves it a moment to close what is in flight;
        the second one ends everything.

        Raises:
            RequestFailed: there is no server, or it answers none of the first requests.
        """
        with shutdown_signals() as shutdown:
            work = asyncio.create_task(self._measure())
            stopper = asyncio.create_task(self._stop_when_asked(shutdown, work))
            try:
                await asyncio.wait({work})
            finally:
                await end_tasks(stopper)
        return None if work.cancelled() else work.result()

    async def _stop_when_asked(self, shutdown: Shutdown, work: asyncio.Task[Run]) -> None:
        await shutdown.draining.wait()
        if self._running is not None:
            self._running.stop()
            await shutdown.forced.wait()
        work.cancel()

    async def _measure(self) -> Run:
        options = self._options
        async with options.open_face() as face:
            model = options.model or await face.find_model()
            sending = options.sending(model)
            fit = await self._fit(face, sending)
            requests = options.requests(fit)
            setting = Setting(
                label=options.label,
                started_at=datetime.now(UTC).isoformat(timespec="seconds"),
                version=__version__,
                target=Target(face.name, face.address, model, options.task),
                load=options.load_form,
                workload=options.workload_form(fit),
                target_ttft_s=_seconds(options.target_ttft_ms),
                target_itl_s=_seconds(options.target_itl_ms),
            )
            self._view.introduce(setting)
            await self._warm_up(face, sending, requests)
            measurement = Measurement(
                face, sending, requests, load=options.load, extent=options.extent
            )
            self._running = measurement
            async with self._view.follow(measurement, options.extent):
                measured = await measurement.run()
        return summarise(setting, measured)

    async def _fit(self, face: Face, sending: Sending) -> WordFit:
        if self._options.dataset is not None:
            return WordFit()

        async def count(prompt: str) -> int | None:
            return await face.count_prompt(sending, prompt)

        return await fit_words(count, self._options.seed)

    async def _warm_up(self, face: Face, sending: Sending, requests: Iterator[LoadRequest]) -> None:
        load, extent = self._options.warmup
        if not extent.num_requests:
            return
        warmup = Measurement(face, sending, requests, load=load, extent=extent)
        measured = await warmup.run()
        exchanges = [exchange for _, exchange in measured.exchanges]
        failures = [exchange.failure for exchange in exchanges if exchange.failure is not None]
        if exchanges and len(failures) == len(exchanges):
            raise RequestFailed(failures[0].kind, failures[0].message)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
