"""Counters of HTTP requests. Names: `docs/observability.md`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ...metrics.forms import exemplar_of
from ..context import CONTEXT

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
# What the previous service left out of its own counters, or did not have.
_PREVIOUSLY_UNCOUNTED: Final = (
    *("/health", "/metrics", "/swagger-ui", "/api/openapi.json", "/playground/"),
)
UNMATCHED: Final = "unmatched"
"""The route of a request that fits none."""


class HttpMetrics:
    """Counts requests by route template, never by path."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "http_requests",
            "HTTP requests answered; status 499: the client left first.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._duration_s = Histogram(
            "http_request_duration_seconds",
            "Time from a request's arrival to the last byte of its answer.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._in_flight = Gauge(
            "http_requests_in_flight", "HTTP requests being answered.", registry=registry
        )
        previous = ("endpoint", "method", "status")
        self._previous_requests = Counter(
            "llm_inference_http_requests",
            "HTTP requests answered, under the name of the previous service.",
            previous,
            registry=registry,
        )
        self._previous_duration_s = Histogram(
            "llm_inference_http_requests_duration_seconds",
            "Their duration, under the name of the previous service.",
            previous,
            buckets=_BUCKETS,
            registry=registry,
        )

    def expect(self, routes: Iterable[web.AbstractRoute]) -> None:
        """Sets the counters of successful requests to zero, for each route."""
        for route in routes:
            if route.method in ("GET", "POST"):
                name = _name(route.resource)
                self._requests.labels(route.method, name, "200")
                self._duration_s.labels(route.method, name)
                if not name.startswith(_PREVIOUSLY_UNCOUNTED):
                    self._previous_requests.labels(name, route.method, "200")
                    self._previous_duration_s.labels(name, route.method, "200")

    def begin(self) -> None:
        """Counts a request in."""
        self._in_flight.inc()

    def end(self, request: web.Request, status: int, duration_s: float) -> None:
        """Counts a request out."""
        method = request.method if request.method in _METHODS else "other"
        route = route_of(request)
        exemplar = exemplar_of(request[CONTEXT].trace)
        self._in_flight.dec()
        self._requests.labels(method, route, str(status)).inc()
        self._duration_s.labels(method, route).observe(duration_s, exemplar)
        if not route.startswith(_PREVIOUSLY_UNCOUNTED):
            self._previous_requests.labels(route, method, str(status)).inc()
            self._previous_duration_s.labels(route, method, str(status)).observe(duration_s)


def route_of(request: web.Request) -> str:
    """Returns the template of the route that a request matched, `UNMATCHED` for none."""
    return _name(request.match_info.route.resource)


def _name(resource: web.AbstractResource | None) -> str:
    return UNMATCHED if resource is None else resource.canonical
