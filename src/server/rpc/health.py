"""The standard health service, with a name for each model and each adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ..models.model_state import State
from ..models.models import Models
from ..settings.fixed_limits import MAX_HEALTH_WATCHES

LIVENESS: Final = "liveness"
READINESS: Final = "readiness"
_Status = health_pb2.HealthCheckResponse.ServingStatus
_Context = grpc.aio.ServicerContext[Any, Any]


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated without types
    """Answers Check, List and Watch for the process, the service and each model.

    `liveness` is SERVING while the process runs. `readiness`, the empty name and the service's
    name follow the models and the drain.
    """

    def __init__(self, models: Models, service_name: str) -> None:
        self._models = models
        self._readiness_names = (READINESS, "", service_name)
        self._statuses: dict[str, int] = {LIVENESS: _Status.SERVING}
        self._is_draining = False
        self._is_closed = False
        self._changes: set[asyncio.Event] = set()
        models.observe(self._update)

    def drain(self) -> None:
        """Reports that nothing but the process is ready any more, then ends every Watch."""
        self._is_draining = True
        self._update()
        self._is_closed = True
        self._wake()

    async def Check(self, request: Any, context: _Context) -> Any:
        """Returns one name's status; NOT_FOUND for an unknown one."""
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service name")
        return health_pb2.HealthCheckResponse(status=status)

    async def List(self, request: Any, context: _Context) -> Any:  # noqa: ARG002
        """Returns every name's status."""
        return cast("Any", health_pb2).HealthListResponse(  # newer than its types
            statuses={
                name: health_pb2.HealthCheckResponse(status=status)
                for name, status in self._statuses.items()
            }
        )

    async def Watch(self, request: Any, context: _Context) -> AsyncIterator[Any]:
        """Streams one name's status, now and on every change, until the server drains."""
        if len(self._changes) >= MAX_HEALTH_WATCHES:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"no more than {MAX_HEALTH_WATCHES} may be open",
            )
        change = asyncio.Event()
        self._changes.add(change)
        try:
            last = None
            while True:
                change.clear()
                status = self._statuses.get(request.service, _Status.SERVICE_UNKNOWN)
                if status != last:
                    last = status
                    yield health_pb2.HealthCheckResponse(status=status)
                if self._is_closed:
                    return
                await change.wait()  # ended by a change, the drain or the client
        finally:
            self._changes.discard(change)

    def _update(self) -> None:
        def status(is_serving: bool) -> int:
            is_serving = is_serving and not self._is_draining
            return int(_Status.SERVING if is_serving else _Status.NOT_SERVING)

        for name in self._readiness_names:
            self._statuses[name] = status(self._models.is_ready)
        for view in self._models.views:
            self._statuses[view.model_id] = status(view.state is State.SERVING)
        self._wake()

    def _wake(self) -> None:
        for change in self._changes:
            change.set()
