"""Registries, and metrics whose numbers are kept elsewhere and read when they are scraped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


def new_registry() -> CollectorRegistry:
    """Makes a registry whose counters do not tell when they were made: twice as many series."""
    disable: Any = disable_created_metrics  # it has no types
    disable()
    return CollectorRegistry()


Numbers = Mapping[tuple[str, ...], float]
"""A number for each set of label values."""

Read = Callable[[], Numbers]


@dataclass(frozen=True, slots=True)
class _Reading:
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily]
    name: str
    help_text: str
    labels: Sequence[str]
    read: Read


class MetricReadings(Collector):
    """Reads numbers of objects that know nothing of metrics.

        readings = MetricReadings(registry)
        readings.gauge("llm_queue_depth", "Requests that wait.", ("model",), read_depths)

    `read` runs in the thread that serves the scrape: it takes what is there, and waits for nothing.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._readings: list[_Reading] = []
        registry.register(self)

    def gauge(self, name: str, help_text: str, labels: Sequence[str], read: Read) -> None:
        """Adds a number that may fall."""
        self._readings.append(_Reading(GaugeMetricFamily, name, help_text, labels, read))

    def counter(self, name: str, help_text: str, labels: Sequence[str], read: Read) -> None:
        """Adds a number that only grows; `_total` is added to the name."""
        self._readings.append(_Reading(CounterMetricFamily, name, help_text, labels, read))

    def collect(self) -> Iterable[Metric]:
        """Reads all of them."""
        for reading in self._readings:
            family = reading.kind(reading.name, reading.help_text, labels=reading.labels)
            for values, number in reading.read().items():
                family.add_metric(values, number)
            yield family
