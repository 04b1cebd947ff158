"""Whether a caller may use what the edge serves itself."""

from __future__ import annotations

from typing import Any

import grpc

from ...generated.tokenwire.v1 import access_pb2, access_pb2_grpc
from ..contract.errors import InvalidRequest
from .access import Access
from .call_names import ANY, METRICS, SWAGGER

_CALLS = {
    access_pb2.RESOURCE_METRICS: METRICS,
    access_pb2.RESOURCE_SWAGGER: SWAGGER,
    access_pb2.RESOURCE_CALLS: ANY,
}


class AccessService(access_pb2_grpc.AccessServiceServicer):
    """Serves CheckAccess. It is open: what it answers is who may do something else."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def CheckAccess(
        self,
        request: access_pb2.CheckAccessRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> access_pb2.CheckAccessResponse:
        """Says whether the caller may use what the edge serves itself."""
        call = _CALLS.get(request.resource)
        if call is None:
            names = " or ".join(access_pb2.Resource.Name(resource) for resource in _CALLS)
            raise InvalidRequest("resource", f"must be {names}, got {request.resource}")
        self._access.check(call, context.invocation_metadata() or ())
        return access_pb2.CheckAccessResponse(needs_key=self._access.needs_key(call))
