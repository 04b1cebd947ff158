"""`/metrics`: the numbers of front and edge on one page."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CollectorRegistry

from ...metrics.forms import choose_form
from ..context import CONTEXT
from .front_metrics import FrontMetrics
from .page import merge_pages


class MetricsRoutes:
    """`/metrics`: answers 200 also where the front is away."""

    def __init__(self, registry: CollectorRegistry, front: FrontMetrics) -> None:
        self._registry = registry
        self._front = front

    def routes(self) -> list[web.RouteDef]:
        """Returns the routes to register."""
        return [web.get("/metrics", self.show)]

    async def show(self, request: web.Request) -> web.Response:
        """Answers the front's metrics and, behind them, the edge's, in the form asked for."""
        encode, content_type = choose_form(request.headers.get("Accept", ""))
        front = await self._front.fetch(content_type, request[CONTEXT].credentials)
        # Behind the fetch, which is one of the numbers.
        body = merge_pages(front, encode(self._registry))
        return web.Response(body=body, headers={"Content-Type": content_type})
