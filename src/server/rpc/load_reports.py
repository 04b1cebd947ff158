"""What load balancers are told of this server: behind every call, and as a stream."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final

import grpc

from ...generated.xds.data.orca.v3.orca_load_report_pb2 import OrcaLoadReport
from ...generated.xds.service.orca.v3 import orca_pb2, orca_pb2_grpc
from ..models.served_model import ServedModel
from ..settings.fixed_limits import MAX_LOAD_REPORT_STREAMS, MIN_LOAD_REPORT_INTERVAL_S

TRAILER: Final = "endpoint-load-metrics-bin"
"""The trailer that gRPC's own balancers read a serialised report from."""

MAX_AGE_S: Final = 0.1
"""Age up to which one report is sent behind several calls."""

RATE_WINDOW_S: Final = 30.0
"""Calls and errors a second are counted over this: a generation takes seconds, few end in one."""

_MIN_RATE_WINDOW_S: Final = 1.0
_MAX_INTERVAL_S: Final = 3600.0
# Of these the server may be the cause; the others are the caller's doing.
_ERRORS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_Context = grpc.aio.ServicerContext[Any, Any]
Trailer = tuple[str, bytes]


class LoadReports(orca_pb2_grpc.OpenRcaServiceServicer):
    """Counts calls, and makes ORCA load reports of that and of how busy the models are.

        reports.begin()                # a call begins
        trailer = reports.end(code)    # it ends: what to send behind it

    `find_memory_share` tells the part of the fullest GPU's memory that is in use, None without one.
    """

    def __init__(
        self,
        models: Iterable[ServedModel],
        find_memory_share: Callable[[], float | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = tuple(models)
        self._find_memory_share = find_memory_share
        self._clock = clock
        self._num_open = 0
        self._num_ended = 0
        self._num_failed = 0
        self._num_streams = 0
        # Calls and failures up to a time, the oldest of them a window ago or longer.
        self._counts = deque([(clock(), 0, 0)])
        self._trailer: Trailer = (TRAILER, b"")
        self._made_s = float("-inf")

    def begin(self) -> None:
        """Counts a call that begins."""
        self._num_open += 1

    def end(self, code: grpc.StatusCode) -> Trailer:
        """Counts a call that ends, and returns the trailer with a report of `MAX_AGE_S` at most."""
        self._num_ended += 1
        self._num_failed += code in _ERRORS
        now_s = self._clock()
        if now_s - self._made_s >= MAX_AGE_S:
            self._made_s = now_s
            self._trailer = (TRAILER, self.make(now_s).SerializeToString())
        self._num_open -= 1
        return self._trailer

    async def StreamCoreMetrics(
        self, request: orca_pb2.OrcaLoadReportRequest, context: _Context
    ) -> AsyncIterator[OrcaLoadReport]:
        """Streams a report now and at the interval asked for."""
        if self._num_streams >= MAX_LOAD_REPORT_STREAMS:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"no more than {MAX_LOAD_REPORT_STREAMS} may be open",
            )
        asked_s = request.report_interval.seconds + request.report_interval.nanos / 1e9
        interval_s = min(max(asked_s, MIN_LOAD_REPORT_INTERVAL_S), _MAX_INTERVAL_S)
        self._num_streams += 1
        try:
            while True:  # until the client leaves, or the server stops
                yield self.make(self._clock())
                await asyncio.sleep(interval_s)
        finally:
            self._num_streams -= 1

    def make(self, now_s: float) -> OrcaLoadReport:
        """Makes the report of a moment."""
        admissions = [model.admission for model in self._models]
        num_slots = sum(admission.num_slots for admission in admissions)
        num_in_flight = sum(admission.num_in_flight for admission in admissions)
        num_queued = sum(admission.num_queued for admission in admissions)
        calls_per_s, errors_per_s = self._rates(now_s)
        # A call that ends has given its slot back: where all calls are counted by their slots, a
        # server with one slot and no queue would never report work.
        num_held = max(self._num_open, num_in_flight + num_queued)
        report = OrcaLoadReport(
            application_utilization=num_held / max(1, num_slots),
            rps_fractional=calls_per_s,
            eps=errors_per_s,
            named_metrics={
                "in_flight": num_in_flight,
                "queue_depth": num_queued,
                "slots": num_slots,
            },
        )
        statuses = [model.status for model in self._models]
        usages = [each.kv_usage for each in statuses if each and each.kv_usage is not None]
        if usages:
            report.utilization["kv_cache"] = max(usages)
        memory_share = self._find_memory_share()
        if memory_share is not None:
            report.mem_utilization = memory_share
        return report

    def _rates(self, now_s: float) -> tuple[float, float]:
        counts = self._counts
        counts.append((now_s, self._num_ended, self._num_failed))
        while len(counts) > 1 and now_s - counts[1][0] >= RATE_WINDOW_S:
            counts.popleft()
        since_s, num_ended, num_failed = counts[0]
        # Where nobody called for long, the oldest count is older than the window, and what ended
        # since then ended in the window.
        window_s = min(max(now_s - since_s, _MIN_RATE_WINDOW_S), RATE_WINDOW_S)
        return (
            (self._num_ended - num_ended) / window_s,
            (self._num_failed - num_failed) / window_s,
        )
