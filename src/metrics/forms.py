"""The forms in which metrics are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as untyped_open_metrics

from ..tracing.trace_context import TraceContext

_open_metrics: Any = untyped_open_metrics

Encode = Callable[[CollectorRegistry], bytes]

PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def choose_form(accept: str) -> tuple[Encode, str]:
    """Returns the encoder of the form that an `Accept` header asks for, and its content type.

    OpenMetrics, which has exemplars, to whoever knows it; everybody else reads Prometheus text.
    """
    if OPEN_METRICS.partition(";")[0] in accept:
        return _encode_open_metrics, OPEN_METRICS
    return generate_latest, PLAIN


def exemplar_of(trace: TraceContext) -> dict[str, str] | None:
    """Returns what leads from a number to a trace; None where no trace is recorded."""
    return {"trace_id": trace.trace_id} if trace.is_sampled else None


def _encode_open_metrics(registry: CollectorRegistry) -> bytes:
    # The library's own choice would write `sglang_x` for the samples of `sglang:x` (0.26).
    page: bytes = _open_metrics.generate_latest(registry, escaping=_open_metrics.ALLOWUTF8)
    return page
