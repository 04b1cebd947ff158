"""Numbers about HTTP, and the front's own beside them."""

from __future__ import annotations

import aiohttp
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_logger = structlog.get_logger(__name__)

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FRONT_TIMEOUT_S = 1.0
UNMATCHED = "unmatched"
"""The route of a request that fits none."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)


class HttpMetrics:
    """Counts requests by route template, never by path."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._requests = Counter(
            "http_requests",
            "HTTP requests answered; status 499: the client left first",
            ["method", "route", "status"],
            registry=registry,
        )
        self._duration_s = Histogram(
            "http_request_duration_seconds",
            "Time from a request's arrival to the last byte of its answer",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._in_flight = Gauge(
            "http_requests_in_flight", "HTTP requests being answered", registry=registry
        )
        self._front_up = Gauge(
            "llm_edge_front_up",
            "Whether the front's metrics could be read, 1 or 0",
            registry=registry,
        )

    def begin(self) -> None:
        """Counts a request in."""
        self._in_flight.inc()

    def end(self, request: web.Request, status: int, duration_s: float) -> None:
        """Counts a request out."""
        method = request.method if request.method in _METHODS else "other"
        route = route_of(request)
        self._in_flight.dec()
        self._requests.labels(method, route, str(status)).inc()
        self._duration_s.labels(method, route).observe(duration_s)

    def exposition(self, front: bytes | None) -> bytes:
        """Returns the front's metrics, None where they could not be read, and then our own."""
        self._front_up.set(front is not None)
        own = generate_latest(self._registry)
        if front is None:
            return b"# The metrics of the front could not be read.\n" + own
        return front + (b"" if front.endswith(b"\n") else b"\n") + own


class FrontMetrics:
    """Fetches the metrics of the front."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=_FRONT_TIMEOUT_S)

    async def fetch(self) -> bytes | None:
        """Returns the front's metrics as Prometheus text, None where they cannot be had in time."""
        try:
            async with self._session.get(self._url, timeout=self._timeout) as response:
                response.raise_for_status()
                return await response.read()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            _logger.warning("front_metrics_unreadable", error=type(error).__name__)
            return None


class MetricsRoutes:
    """`/metrics`: answers 200 also where the front is away."""

    def __init__(self, metrics: HttpMetrics, front: FrontMetrics) -> None:
        self._metrics = metrics
        self._front = front

    def routes(self) -> list[web.RouteDef]:
        """Returns the routes to register."""
        return [web.get("/metrics", self.show)]

    async def show(self, _request: web.Request) -> web.Response:
        """Answers the front's metrics and, behind them, the edge's."""
        body = self._metrics.exposition(await self._front.fetch())
        return web.Response(body=body, headers={"Content-Type": _CONTENT_TYPE})


def route_of(request: web.Request) -> str:
    """Returns the template of the route that a request matched, `UNMATCHED` for none."""
    resource = request.match_info.route.resource
    return UNMATCHED if resource is None else resource.canonical
