"""What the edge tells of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry

from ...metrics.process import register_process
from ...metrics.readings import MetricReadings
from .front_metrics import FrontMetrics


def register_edge(
    registry: CollectorRegistry,
    front: FrontMetrics,
    num_connections: Callable[[], int],
    num_cut: Callable[[], Mapping[str, int]],
    *,
    num_spans_dropped: Callable[[], int],
    num_lines_dropped: Callable[[], int],
) -> None:
    """Adds what is read of the edge when it is scraped."""
    readings = MetricReadings(registry)
    readings.gauge(
        "llm_edge_front_up",
        "1 where the front's metrics stand on this page.",
        (),
        lambda: {(): float(front.is_up)},
    )
    readings.gauge(
        "http_connections", "HTTP connections that are open.", (), lambda: {(): num_connections()}
    )
    readings.counter(
        "http_connections_cut",
        "HTTP connections that were refused, or closed with a request or an answer under way, and "
        "those that made room for a new one, by the limit that was met.",
        ("limit",),
        lambda: {(limit,): number for limit, number in num_cut().items()},
    )
    register_process(readings, "edge", num_spans_dropped, num_lines_dropped)
