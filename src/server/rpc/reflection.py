"""Server reflection, under the name of today and the one before it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from ...generated.xds import descriptor_pool as xds_pool

V1: Final = "grpc.reflection.v1.ServerReflection"


def add_reflection(server: grpc.aio.Server, service_names: Iterable[str]) -> None:
    """Serves `grpc.reflection.v1` and `v1alpha`, which list each other and `service_names`.

    The two differ in nothing but the name of their package, so one servicer answers both, and the
    file of the newer is made from the file of the older.
    """
    file = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    newer = text_format.Parse(str(file).replace("v1alpha", "v1"), FileDescriptorProto())
    # Any: these packages have no types.
    pool: Any = descriptor_pool.Default()
    stubs: Any = reflection_pb2_grpc
    pool.AddSerializedFile(newer.SerializeToString())
    servicer: Any = reflection.aio.ReflectionServicer(
        (*service_names, reflection.SERVICE_NAME, V1), pool=_Pools()
    )
    stubs.add_ServerReflectionServicer_to_server(servicer, server)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_registered_method_handlers(V1, {"ServerReflectionInfo": handler})


class _Pools:
    """All generated files: those of load reports have a pool of their own."""

    # Any: these packages have no types.

    def __init__(self) -> None:
        self._pool: Any = descriptor_pool.Default()
        self._others: Any = xds_pool.Default()

    def FindFileByName(self, name: str) -> Any:
        try:
            return self._pool.FindFileByName(name)
        except KeyError:
            return self._others.FindFileByName(name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._others.FindFileContainingSymbol(symbol)

    def __getattr__(self, name: str) -> Any:  # what is asked about extensions: the others have none
        return getattr(self._pool, name)
