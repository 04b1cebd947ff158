"""Numbers of requests that outlive their calls. Meanings: `docs/observability.md`."""

from __future__ import annotations

from ....metrics.readings import MetricReadings
from ...request.kept_requests import KeptRequests


def register_kept(readings: MetricReadings, kept: KeptRequests) -> None:
    """Adds how many are kept, how much that takes, and what became of calls that resume."""
    readings.gauge(
        "llm_kept_requests",
        "Requests with a detach_timeout that can be resumed.",
        (),
        lambda: {(): len(kept)},
    )
    readings.gauge(
        "llm_kept_request_bytes",
        "What is kept of what they said.",
        (),
        lambda: {(): kept.num_bytes},
    )
    readings.counter(
        "llm_resumes",
        "Calls that resume a request, by what became of them.",
        ("outcome",),
        lambda: {(outcome.value,): number for outcome, number in kept.num_resumes.items()},
    )
