"""Metrics whose numbers are kept elsewhere."""

from __future__ import annotations

from prometheus_client import Counter, generate_latest
from tokenwire.metrics.readings import MetricReadings, new_registry


def test_numbers_are_read_at_each_scrape() -> None:
    """A gauge and a counter follow what they read of, and one with nothing to read has its head."""
    numbers = {("a",): 1.0}
    registry = new_registry()
    readings = MetricReadings(registry)
    readings.gauge("llm_depth", "Depth.", ("model",), lambda: numbers)
    readings.counter("llm_deaths", "Deaths.", (), lambda: {(): 7.0})
    readings.gauge("gpu_bytes", "Bytes.", ("device",), dict)
    assert registry.get_sample_value("llm_depth", {"model": "a"}) == 1
    numbers["b",] = 2.0
    assert registry.get_sample_value("llm_depth", {"model": "b"}) == 2
    text = generate_latest(registry).decode()
    assert "llm_deaths_total 7.0\n" in text
    assert "# TYPE gpu_bytes gauge\n" in text


def test_no_series_of_times() -> None:
    """Counters do not tell when they were made: each would be a series of its own."""
    registry = new_registry()
    Counter("llm_deaths", "Deaths.", registry=registry).inc()
    assert "created" not in generate_latest(registry).decode()
