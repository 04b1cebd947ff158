"""Spans on their way to a collector."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from structlog.testing import capture_logs
from tokenwire.tracing.settings import TracingSettings
from tokenwire.tracing.span_queue import SpanQueue

GUARD_S = 45.0


class GatedExporter(SpanExporter):
    """Lets each batch through when a test allows it, or fails it."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.outcomes: list[Exception | SpanExportResult] = []
        self.is_shut_down = False
        self.was_waited_for = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.batches.append([span.name for span in spans])
        outcome = self.outcomes.pop(0) if self.outcomes else SpanExportResult.SUCCESS
        self.entered.release()
        self.was_waited_for = not self.gate.acquire(timeout=GUARD_S)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def shutdown(self) -> None:
        self.is_shut_down = True
        self.gate.release()


def settings(**variables: str) -> TracingSettings:
    limits = {"OTEL_BSP_MAX_QUEUE_SIZE": "3", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}
    return TracingSettings.model_validate({**limits, **variables})


def span(name: str) -> ReadableSpan:
    return ReadableSpan(name)


def test_a_full_batch_goes_at_once_and_the_rest_at_the_end() -> None:
    """Spans go in batches, in their order; the end waits for those that are left."""
    exporter = GatedExporter()
    queue = SpanQueue(exporter, settings())
    queue.start()
    for name in "ab":
        queue.on_end(span(name))
    assert exporter.entered.acquire(timeout=GUARD_S)
    queue.on_end(span("c"))
    for _ in range(2):
        exporter.gate.release()
    queue.shutdown()
    assert exporter.batches == [["a", "b"], ["c"]]
    assert queue.num_dropped == 0
    assert exporter.is_shut_down


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    """While a collector hangs no more than the bound wait; whoever ends a span never does."""
    exporter = GatedExporter()
    queue = SpanQueue(exporter, settings())
    queue.start()
    with capture_logs() as lines:
        for name in "ab":
            queue.on_end(span(name))
        assert exporter.entered.acquire(timeout=GUARD_S)
        for name in "cdefgh":
            queue.on_end(span(name))
        assert queue.num_dropped == 3
        for _ in range(3):
            exporter.gate.release()
        queue.shutdown()
    assert exporter.batches == [["a", "b"], ["c", "d"], ["e"]]
    assert queue.num_dropped == 3
    assert [line["num_spans"] for line in lines if line["event"] == "spans_lost"] == [1, 2]


@pytest.mark.parametrize("failure", [SpanExportResult.FAILURE, ValueError("a bug")])
def test_a_batch_that_fails_is_counted(failure: Exception | SpanExportResult) -> None:
    """A failure, of the collector or of the library, loses its batch and no other."""
    exporter = GatedExporter()
    exporter.outcomes = [failure]
    queue = SpanQueue(exporter, settings())
    queue.start()
    for name in "ab":
        queue.on_end(span(name))
    assert exporter.entered.acquire(timeout=GUARD_S)
    queue.on_end(span("c"))
    for _ in range(2):
        exporter.gate.release()
    queue.shutdown()
    assert exporter.batches == [["a", "b"], ["c"]]
    assert queue.num_dropped == 2


def test_the_end_does_not_wait_for_a_collector_that_hangs() -> None:
    """What is left then is lost, and counted; nothing is taken behind it."""
    exporter = GatedExporter()
    exporter.outcomes = [SpanExportResult.FAILURE]  # as the library's, once it is shut down
    queue = SpanQueue(exporter, settings(OTEL_BSP_MAX_EXPORT_BATCH_SIZE="1"))
    queue.start()
    for name in "ab":
        queue.on_end(span(name))
    queue.shutdown()  # nobody opens the gate
    queue.on_end(span("c"))
    assert exporter.is_shut_down
    assert not exporter.was_waited_for
    assert queue.num_dropped == 3
