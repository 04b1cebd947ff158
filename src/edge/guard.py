"""What stands before routes that the edge answers by itself: the front says who may use them.

And what is said where anyone on the way can read the keys.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import cast

import grpc
from aiohttp import web

from ..generated.tokenwire.v1 import access_pb2
from ..listening import warn_of_plaintext_keys
from .client import FrontClient
from .context import CONTEXT, RequestContext

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REFUSALS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
_UNKNOWN = (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT)
# How long a front that asked for no key is believed: it may come back with keys.
_OPEN_S = 5.0


class PlaintextKeys:
    """Warns once, when the first key comes without TLS where other machines can send one.

    Which keys there are, and whether any, the front alone knows.
    """

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        self._is_due = True

    def record(self, request: web.Request) -> None:
        """Looks at a request, which has its context."""
        if self._is_due and request[CONTEXT].credentials and not request.secure:
            self._is_due = False
            warn_of_plaintext_keys(self._hostname)


class Doorkeeper:
    """Has callers without a good key refused before their bodies are read, where keys are needed.

    Whether they are is known from the last answer of the front. A key with a small body is looked
    at by the call itself, and so is every caller while the front cannot be asked.
    """

    def __init__(self, front: FrontClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._front = front
        self._clock = clock
        self._needs_key = False
        self._asked_s = -math.inf

    async def admit(self, request: web.Request, is_large: bool) -> None:
        """Does what `check` does for a request, which has its context."""
        await self.check(request[CONTEXT], is_large=is_large)

    async def check(self, context: RequestContext, *, is_large: bool) -> None:
        """Asks the front about a caller, where that is due.

        Raises:
            AioRpcError: he has no key or a wrong one, or has none and the front cannot say.
        """
        if self._needs_key:
            if context.credentials and not is_large:
                return
        elif self._clock() - self._asked_s < _OPEN_S:
            return
        try:
            self._needs_key = await self._front.check_access(access_pb2.RESOURCE_CALLS, context)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            if code in _REFUSALS:
                self._needs_key = True
                raise
            if code in _UNKNOWN:  # a front that knows no keys, or not this question
                self._needs_key = False
            elif self._needs_key and not context.credentials:
                raise
            elif self._asked_s == -math.inf:
                return  # with no word yet the next one asks again
        self._asked_s = self._clock()


class Guard:
    """Asks the front whether the caller may use a route.

    While the front is away its last word counts: what needed no key is open, and what did is shut.
    With no word yet it is open: an edge whose front was never there has nothing to hide.
    """

    def __init__(self, front: FrontClient) -> None:
        self._front = front
        self._needs_key: dict[access_pb2.Resource.ValueType, bool] = {}

    def guarded(
        self, routes: Iterable[web.RouteDef], resource: access_pb2.Resource.ValueType
    ) -> list[web.RouteDef]:
        """Returns the routes for those alone who may use `resource`."""

        def guard(route: web.RouteDef) -> _Handler:
            handler = cast("_Handler", route.handler)  # aiohttp takes classes, too; we have none

            async def guarded(request: web.Request) -> web.StreamResponse:
                await self._check(resource, request[CONTEXT])
                return await handler(request)

            return guarded

        return [
            web.route(route.method, route.path, guard(route), **route.kwargs) for route in routes
        ]

    async def _check(
        self, resource: access_pb2.Resource.ValueType, context: RequestContext
    ) -> None:
        try:
            self._needs_key[resource] = await self._front.check_access(resource, context)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:  # a front that knows no keys
                self._needs_key[resource] = False
                return
            if error.code() in _REFUSALS:
                self._needs_key[resource] = True
            is_away = error.code() is grpc.StatusCode.UNAVAILABLE
            if self._needs_key.get(resource, not is_away):
                raise
