"""The forms in which metrics are written."""

from __future__ import annotations

import pytest
from prometheus_client import Counter, Gauge
from tokenwire.metrics.forms import OPEN_METRICS, PLAIN, choose_form, exemplar_of
from tokenwire.metrics.readings import new_registry
from tokenwire.tracing.trace_context import NO_TRACE, TraceContext

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
# What Prometheus 2.42 and 3.5 send.
PROMETHEUS_2 = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/plain;version=0.0.4", PLAIN),
        (PROMETHEUS_2, OPEN_METRICS),
        (PROMETHEUS_3, OPEN_METRICS),
        (OPEN_METRICS, OPEN_METRICS),
    ],
)
def test_form_by_accept(accept: str, content_type: str) -> None:
    """OpenMetrics for whoever takes it; names of engines are the same in both forms."""
    registry = new_registry()
    Gauge("sglang:depth", "Depth.", registry=registry).set(3)
    encode, told = choose_form(accept)
    page = encode(registry)
    assert told == content_type
    assert b"\nsglang:depth 3.0\n" in page
    assert page.endswith(b"# EOF\n") == (content_type == OPEN_METRICS)


@pytest.mark.parametrize(("flags", "has_exemplar"), [("01", True), ("00", False)])
def test_exemplars_lead_to_traces(flags: str, has_exemplar: bool) -> None:
    """A number refers to its trace where that is recorded, and to none where it is not."""
    trace = TraceContext.read(f"00-{TRACE_ID}-00f067aa0ba902b7-{flags}")
    registry = new_registry()
    Counter("llm_deaths", "Deaths.", registry=registry).inc(1, exemplar_of(trace))
    encode, _ = choose_form(OPEN_METRICS)
    assert (f'# {{trace_id="{TRACE_ID}"}}'.encode() in encode(registry)) == has_exemplar
    assert exemplar_of(NO_TRACE) is None
