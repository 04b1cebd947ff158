"""The spans of gRPC calls, after OpenTelemetry's conventions for them.

We write them, and no instrumentation does: `opentelemetry-instrumentation-grpc` 0.66b2 cannot serve
handlers that write to their context, as ours do, takes cancels and statuses with details for
success, records the texts of exceptions, and its client has calls that hang.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import grpc

from .trace_context import TraceContext

if TYPE_CHECKING:
    from .tracer import Span, Tracer

# What is a fault of the server; the rest is the caller's:
# https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
_SERVER_FAULTS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


def end_served(
    span: Span, method: str, code: grpc.StatusCode, *, peer: str, request_id: str, reason: str
) -> None:
    """Ends the span of a call that was served.

    `method` is that of gRPC without its first slash. `reason` says why it failed, empty where it
    did not, or where gRPC ended it.
    """
    if not span.is_recorded:
        return
    attributes = {
        **_call(method, code),
        **_peer(peer),
        "tokenwire.request_id": request_id,
    }
    if reason:
        attributes["tokenwire.reason"] = reason
    is_fault = code in _SERVER_FAULTS
    span.end(attributes, error_type=code.name if is_fault else "", is_error=is_fault)


@contextmanager
def calling(
    tracer: Tracer | None, method: str, target: str, parent: TraceContext
) -> Generator[TraceContext]:
    """Spans a call to another process, which goes on with the trace that this gives.

    A body that ends with anything but the call's own failure has given the call up.
    """
    if tracer is None or not parent.is_sampled:
        yield parent
        return
    span = tracer.begin_client(method, parent)
    code = grpc.StatusCode.OK
    try:
        yield span.context
    except grpc.aio.AioRpcError as error:
        code = error.code()
        raise
    except BaseException:
        code = grpc.StatusCode.CANCELLED
        raise
    finally:
        is_error = code is not grpc.StatusCode.OK
        attributes = {**_call(method, code), "server.address": target}
        span.end(attributes, error_type=code.name if is_error else "", is_error=is_error)


def _call(method: str, code: grpc.StatusCode) -> dict[str, str | int]:
    return {
        "rpc.system.name": "grpc",
        "rpc.method": method,
        "rpc.response.status_code": code.name,
    }


def _peer(peer: str) -> dict[str, str | int]:
    """Reads `ipv4:127.0.0.1:50051` or `ipv6:%5B::1%5D:50051`; other forms say nothing."""
    kind, _, rest = peer.partition(":")
    address, _, port = rest.rpartition(":")
    if kind not in ("ipv4", "ipv6") or not port.isdigit():
        return {}
    address = address.replace("%5B", "").replace("%5D", "").strip("[]")
    return {"network.peer.address": address, "network.peer.port": int(port)}
