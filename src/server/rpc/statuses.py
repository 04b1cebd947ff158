"""Failures as gRPC statuses with their details, from the one table in the protos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status as RpcStatus

from ...generated.tokenwire.v1 import errors_pb2, options_pb2
from ..contract.errors import InferenceError, UnsupportedModel

DOMAIN: Final = "tokenwire"
_PREFIX: Final = "ERROR_REASON_"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class CallStatus(grpc.Status):
    """How a call ends: the three attributes that gRPC reads."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def status_of(error: InferenceError, request_id: str) -> CallStatus:
    """Turns a failure into the status that the caller gets."""
    value = errors_pb2.ErrorReason.DESCRIPTOR.values_by_name[_PREFIX + error.reason]
    return _status(value.number, error, error.message, request_id)


def internal_status(request_id: str) -> CallStatus:
    """Returns the status of a failure that nobody foresaw: general words, and the request's id."""
    return _status(
        errors_pb2.ERROR_REASON_UNSPECIFIED,
        None,
        "internal error; the server's log has the details under this request id",
        request_id,
    )


def _status(number: int, error: InferenceError | None, message: str, request_id: str) -> CallStatus:
    value = errors_pb2.ErrorReason.DESCRIPTOR.values_by_number[number]
    traits: options_pb2.ErrorTraits = value.GetOptions().Extensions[options_pb2.error]
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=value.name.removeprefix(_PREFIX) if error else "INTERNAL",
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
    if traits.retry_after_s:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromSeconds(traits.retry_after_s)
        details.append(retry)
        trailers.append(("grpc-retry-pushback-ms", str(traits.retry_after_s * 1000)))
    rich = RpcStatus(code=traits.grpc_code, message=message, details=[_pack(d) for d in details])
    trailers.append(("grpc-status-details-bin", rich.SerializeToString()))
    return CallStatus(_CODES[traits.grpc_code], message, tuple(trailers))


def _pack(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed
