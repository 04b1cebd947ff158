"""What each process of the service tells of itself."""

from __future__ import annotations

from collections.abc import Callable

from .. import __version__
from .readings import MetricReadings


def none_dropped() -> int:
    """Nothing is lost where a program around the process takes its lines."""
    return 0


def register_process(
    readings: MetricReadings,
    process: str,
    num_spans_dropped: Callable[[], int],
    num_lines_dropped: Callable[[], int] = none_dropped,
) -> None:
    """Adds the version of a process, and what was lost on the way to whoever looks at it.

    `process` is `front` or `edge`: their numbers stand on one page.
    """
    readings.gauge(
        "llm_build_info",
        "1, with the version of each process.",
        ("process", "version"),
        lambda: {(process, __version__): 1.0},
    )
    readings.counter(
        "llm_telemetry_spans_dropped",
        "Spans of traces that were not sent.",
        ("process",),
        lambda: {(process,): float(num_spans_dropped())},
    )
    readings.counter(
        "llm_log_lines_dropped",
        "Lines of the log that nobody took.",
        ("process",),
        lambda: {(process,): float(num_lines_dropped())},
    )
