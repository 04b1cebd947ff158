"""The server of gRPC, which one call with an odd path would end otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, cast

import grpc

# gRPC's own inside: it has no other way to it. Any: it has no types.
from grpc._cython import cygrpc as untyped_core
from grpc.aio import _server as untyped_server

_core: Any = untyped_core
_grpc_server: Any = untyped_server
_UNKNOWN: Final = "an unknown method"


def make_server(interceptors: Sequence[Any], options: Sequence[tuple[str, Any]]) -> grpc.aio.Server:
    """Makes a server that outlives calls of methods whose name is not UTF-8.

    gRPC's own loop takes calls of methods that are not registered by their names, which it decodes,
    and a name that cannot be decoded ends the loop: the port closes for everyone, until the process
    is started again. Here such calls never come to that loop, and are told that there is no such
    method. So every method that is served must be registered
    (`add_registered_method_handlers`); generic handlers are never asked.
    """
    return cast("grpc.aio.Server", _SteadyServer(interceptors, options))


class _SteadyServer(_grpc_server.Server):  # type: ignore[misc]  # see above
    def __init__(self, interceptors: Sequence[Any], options: Sequence[tuple[str, Any]]) -> None:
        # In the place of the one of `grpc.aio.Server`, which makes the core itself.
        self._loop = _core.get_working_loop()
        augmented = _grpc_server._augment_channel_arguments(options, None)
        self._server = _SteadyCore(self._loop, None, (), interceptors, augmented, None)


class _SteadyCore(_core.AioServer):  # type: ignore[misc]  # see above
    """Takes calls of unknown methods by itself, away from the loop that takes all others."""

    def _make_request_call_future(self, method: bytes | None) -> asyncio.Future[Any]:
        if method is not None:
            parent: Any = super()
            return cast("asyncio.Future[Any]", parent._make_request_call_future(method))
        loop = asyncio.get_running_loop()
        # Ended by the end of the server.
        self._refusing = loop.create_task(self._refuse_unknown(loop), name="unknown methods")
        # Never done: gRPC's loop waits for it beside those of the registered methods.
        return loop.create_future()

    async def _refuse_unknown(self, loop: asyncio.AbstractEventLoop) -> None:
        nothing = _core._MethodResolver([], {})
        refusals: set[asyncio.Task[None]] = set()
        while True:
            try:
                call = await self._request_call()
            except _core._RequestCallError:
                if not self.is_running():  # the server ends
                    return
                continue
            refusal = _core._handle_rpc(_UNKNOWN, nothing, (), call, loop, False)
            task = loop.create_task(_core._schedule_rpc_coro(refusal, call, loop, _UNKNOWN))
            refusals.add(task)
            task.add_done_callback(refusals.discard)
