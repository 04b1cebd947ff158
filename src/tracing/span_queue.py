"""Ended spans on their way to the collector."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Final

import structlog
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from .settings import TracingSettings

_logger = structlog.get_logger(__name__)

# The end of a process is delayed by both together, at most; front and edge end one after another.
_FLUSH_S: Final = 0.8
_CUT_S: Final = 0.2
# A collector that is away for a day is told of every minute, not for every batch.
_REPORT_INTERVAL_S: Final = 60.0
_LIBRARY: Final = "opentelemetry"


class SpanQueue(SpanProcessor):
    """Holds spans until a thread of its own has exported them; nobody else ever waits for that.

    OpenTelemetry's own processor drops without a count and flushes for half a minute.
    """

    def __init__(self, exporter: SpanExporter, settings: TracingSettings) -> None:
        self._exporter = exporter
        self._max_spans = settings.otel_bsp_max_queue_size
        self._max_batch = min(settings.otel_bsp_max_export_batch_size, self._max_spans)
        self._delay_s = settings.otel_bsp_schedule_delay_ms / 1000
        self._spans: deque[ReadableSpan] = deque()
        self._wake = threading.Event()
        self._is_closing = False
        self._is_cut = False
        self._losses = _Losses()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)

    @property
    def num_dropped(self) -> int:
        """Spans that reached no collector."""
        return self._losses.total

    def start(self) -> None:
        """Starts to export."""
        self._losses.listen()
        self._thread.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Does nothing: a span is exported once it has ended."""

    def on_end(self, span: ReadableSpan) -> None:
        """Takes a span, or drops it where too many wait already."""
        if self._is_closing or len(self._spans) >= self._max_spans:
            self._losses.add(1)
            return
        self._spans.append(span)
        if len(self._spans) == self._max_batch:
            self._wake.set()

    def shutdown(self) -> None:
        """Exports what is left, for a second at most."""
        self._is_closing = True
        self._wake.set()
        self._thread.join(_FLUSH_S)
        self._is_cut = True
        # It closes the channel, which ends an export that hangs.
        self._exporter.shutdown()
        self._thread.join(_CUT_S)
        self._losses.add(len(self._spans))
        self._losses.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        """Has nothing to do with us: `shutdown` flushes."""
        return True

    def _run(self) -> None:
        while not self._is_closing:
            self._wake.wait(self._delay_s)
            self._wake.clear()
            self._export_all()
        self._export_all()

    def _export_all(self) -> None:
        while self._spans and not self._is_cut:
            count = min(len(self._spans), self._max_batch)
            batch = [self._spans.popleft() for _ in range(count)]
            try:
                result = self._exporter.export(batch)
            except Exception as error:  # noqa: BLE001 - the thread's top: the next batch may go
                self._losses.reason = type(error).__name__
                result = SpanExportResult.FAILURE
            if result is not SpanExportResult.SUCCESS:
                self._losses.add(count)


class _Losses(logging.Handler):
    """Counts lost spans and logs them now and then, with the library's last words about them.

    What the library logs itself comes for every batch and every try, and may quote a caller.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.total = 0
        self.reason = "too many wait for the collector"
        self._num_told = 0
        self._told_s = -_REPORT_INTERVAL_S
        self._library = logging.getLogger(_LIBRARY)
        self._counting = threading.Lock()

    def listen(self) -> None:
        """Takes over what the library logs."""
        self._library.addHandler(self)
        self._library.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps what an exporter says."""
        if record.name.startswith(f"{_LIBRARY}.exporter"):
            self.reason = record.getMessage()

    def add(self, num_spans: int) -> None:
        """Counts lost spans."""
        if not num_spans:
            return
        with self._counting:
            self.total += num_spans
            is_due = time.monotonic() - self._told_s >= _REPORT_INTERVAL_S
            if is_due:
                self._told_s = time.monotonic()
        if is_due:
            self._tell()

    def close(self) -> None:
        """Logs what was not told yet, and gives the library back."""
        if self.total > self._num_told:
            self._tell()
        self._library.removeHandler(self)
        self._library.propagate = True
        super().close()

    def _tell(self) -> None:
        num_spans, self._num_told = self.total - self._num_told, self.total
        _logger.warning("spans_lost", num_spans=num_spans, total=self.total, detail=self.reason)
