"""Failures as gRPC statuses with their details, from the one table in the protos."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status as RpcStatus

from ...error_table import DOMAIN, TRAITS
from ..contract.errors import InferenceError, UnsupportedModel
from ..request.calls import INTERNAL

_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class CallStatus(grpc.Status):
    """How a call ends: the three attributes that gRPC reads."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def status_of(error: InferenceError, request_id: str) -> CallStatus:
    """Turns a failure into the status that the caller gets."""
    return _status(error.reason, error, error.message, request_id)


def internal_status(request_id: str) -> CallStatus:
    """Returns the status of a failure that nobody foresaw: general words, and the request's id."""
    return _status(
        "UNSPECIFIED",
        None,
        "internal error; the server's log has the details under this request id",
        request_id,
    )


async def abort(context: grpc.aio.ServicerContext[Any, Any], status: CallStatus) -> None:
    """Ends a call with a status."""
    # gRPC raises it once more by itself, when the handler has returned.
    with suppress(grpc.aio.AbortError):
        await context.abort_with_status(status)


def code_of(context: grpc.aio.ServicerContext[Any, Any]) -> grpc.StatusCode:
    """Returns the code that a handler ended its call with by itself."""
    code: Any = context.code()  # a number, in this release
    return code if isinstance(code, grpc.StatusCode) else _CODES[code]


def _status(reason: str, error: InferenceError | None, message: str, request_id: str) -> CallStatus:
    traits = TRAITS[reason]
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=reason if error else INTERNAL,
            domain=DOMAIN,
            metadata=error.metadata if error else {},
        ),
        error_details_pb2.RequestInfo(request_id=request_id),
    ]
    trailers: list[tuple[str, str | bytes]] = [("x-request-id", request_id)]
    if error and error.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field=field, description=text)
                    for field, text in error.violations
                ]
            )
        )
    if isinstance(error, UnsupportedModel):
        details.append(
            error_details_pb2.ResourceInfo(
                resource_type="tokenwire.v1.Model", resource_name=error.model_id
            )
        )
    retry_after_s = (error.retry_after_s if error else None) or traits.retry_after_s
    if retry_after_s:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromSeconds(retry_after_s)
        details.append(retry)
        trailers.append(("grpc-retry-pushback-ms", str(retry_after_s * 1000)))
    rich = RpcStatus(code=traits.grpc_code, message=message, details=[_pack(d) for d in details])
    trailers.append(("grpc-status-details-bin", rich.SerializeToString()))
    return CallStatus(_CODES[traits.grpc_code], message, tuple(trailers))


def _pack(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed
