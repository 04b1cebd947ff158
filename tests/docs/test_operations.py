"""docs/operations.md against the registries."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry
from tokenwire.edge.metrics import HttpMetrics
from tokenwire.server.telemetry.grpc_metrics import GrpcMetrics
from tokenwire.server.telemetry.metrics_server import new_registry
from tokenwire.server.telemetry.model_metrics import ModelMetrics

from .pages import read_page, table_below


def documented(heading: str) -> set[str]:
    """The names in the first column of the table behind a heading."""
    rows = table_below(read_page("operations.md"), heading)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}


def exposed(registry: CollectorRegistry) -> set[str]:
    """The names under which a registry's metrics are scraped."""
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for family in registry.collect()
    }


def test_metrics_of_the_front() -> None:
    """Every metric of the front is in the table, and nothing more."""
    registry = new_registry()
    GrpcMetrics(registry, [])
    ModelMetrics(registry, [])
    assert documented("### Of the front") == exposed(registry)


def test_metrics_of_the_edge() -> None:
    """Every metric of the edge is in the table, and nothing more."""
    registry = CollectorRegistry()
    HttpMetrics(registry)
    assert documented("### Of the edge") == exposed(registry)
