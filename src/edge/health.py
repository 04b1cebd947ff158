"""The probes."""

from __future__ import annotations

from aiohttp import web

from .body import json_response
from .client import FrontClient
from .middleware import InFlight

_LIVE = {"status": "ok"}
_READY = {"status": "ok", "llm_models_loaded": True}
_NOT_READY = {"status": "not_ready", "llm_models_loaded": False}


class HealthRoutes:
    """`/health/live` is about this process; `/health/ready` about the front and its models."""

    def __init__(self, front: FrontClient, in_flight: InFlight) -> None:
        self._front = front
        self._in_flight = in_flight

    def routes(self) -> list[web.RouteDef]:
        """Returns the routes to register."""
        return [
            web.get("/health/live", self.live),
            web.get("/health/ready", self.ready),
        ]

    async def live(self, _request: web.Request) -> web.Response:
        """Answers 200 as long as this process can answer at all."""
        return json_response(_LIVE)

    async def ready(self, _request: web.Request) -> web.Response:
        """Answers 200 where the front is ready and this edge is not draining."""
        if not self._in_flight.is_draining and await self._front.is_ready():
            return json_response(_READY)
        return json_response(_NOT_READY, status=503)
