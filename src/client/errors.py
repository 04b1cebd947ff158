"""What a call can fail with, from its gRPC status and the details in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from .answer import Answer

_DETAILS = "grpc-status-details-bin"
_DetailT = TypeVar("_DetailT", bound=Message)


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that the server refuses, by its path, and what is wrong with it."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Failure:
    """What the server says of a call that failed.

    `reason` is a value of `tokenwire.v1.ErrorReason` without its prefix, such as `AT_CAPACITY`;
    empty where the server did not answer. `retry_after_s` is None where another try is of no use.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    violations: tuple[FieldViolation, ...] = ()
    retry_after_s: float | None = None
    request_id: str = ""


class TokenwireError(Exception):
    """A call failed. What is known of it is in `failure`, and the most wanted of it here."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC status."""
        return self.failure.code

    @property
    def reason(self) -> str:
        """Why, for machines; empty where the server did not answer."""
        return self.failure.reason

    @property
    def violations(self) -> tuple[FieldViolation, ...]:
        """The fields that are refused."""
        return self.failure.violations

    @property
    def retry_after_s(self) -> float | None:
        """Seconds after which another try is worthwhile, None where none is."""
        return self.failure.retry_after_s

    @property
    def request_id(self) -> str:
        """What the server's log knows the request by."""
        return self.failure.request_id

    def __str__(self) -> str:
        """Says the message, and the code with the reason in it."""
        why = f", {self.reason}" if self.reason else ""
        return f"{self.failure.message} ({self.code.name}{why})"


class InvalidRequest(TokenwireError):
    """A field is wrong, or the prompt does not fit into the context: `violations` names it."""


class UnknownModel(TokenwireError):
    """There is no such model on this server."""


class Unauthenticated(TokenwireError):
    """The server wants an API key, or does not know this one."""


class PermissionDenied(TokenwireError):
    """The API key does not allow this."""


class QuotaExceeded(TokenwireError):
    """The quota of the API key is used up for now."""


class Unavailable(TokenwireError):
    """The server is at capacity, loading, draining or not there."""


class ModelLoadFailed(TokenwireError):
    """The model could not be loaded."""


class DeadlineExceeded(TokenwireError):
    """The deadline passed."""


class Cancelled(TokenwireError):
    """The call was cancelled, by `close` in another thread or task."""


class ServerError(TokenwireError):
    """The server failed in a way that is not the caller's doing."""


class StreamLost(TokenwireError):
    """The connection was lost, and the request could not be resumed: by `failure`, as it says.

    `received` is what had come of the answer; what had not is as in an answer without a token.
    """

    def __init__(self, failure: Failure, received: Answer) -> None:
        super().__init__(failure)
        self.received = received


class ToolLoopUnfinished(Exception):
    """The model still called tools after the last turn that it was given."""

    def __init__(self, max_turns: int) -> None:
        super().__init__(f"the model still called tools after {max_turns} turns")
        self.max_turns = max_turns


_BY_CODE: Mapping[grpc.StatusCode, type[TokenwireError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: UnknownModel,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: QuotaExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.FAILED_PRECONDITION: ModelLoadFailed,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
}


def make_error(failure: Failure) -> TokenwireError:
    """Makes the exception of a failure's code."""
    return _BY_CODE.get(failure.code, ServerError)(failure)


def error_of(error: grpc.RpcError) -> TokenwireError:
    """Makes our exception of one that gRPC raised."""
    # Any: gRPC raises objects that are calls, too, which its base class does not say.
    call: Any = error
    trailers: dict[str, str | bytes] = dict(call.trailing_metadata() or ())
    details = _read_details(trailers.get(_DETAILS, b""))
    info = _find(details, error_details_pb2.ErrorInfo)
    bad = _find(details, error_details_pb2.BadRequest)
    retry = _find(details, error_details_pb2.RetryInfo)
    request = _find(details, error_details_pb2.RequestInfo)
    retry_after_s = None
    if retry is not None:
        retry_after_s = retry.retry_delay.seconds + retry.retry_delay.nanos * 1e-9
    return make_error(
        Failure(
            code=call.code(),
            message=call.details() or "the call failed",
            reason="" if info is None else info.reason,
            metadata={} if info is None else dict(info.metadata),
            violations=tuple(
                FieldViolation(violation.field, violation.description)
                for violation in (() if bad is None else bad.field_violations)
            ),
            retry_after_s=retry_after_s,
            request_id="" if request is None else request.request_id,
        )
    )


def _read_details(packed: str | bytes) -> list[Any]:
    # Any: they are `google.protobuf.Any`, which has no types here.
    if not isinstance(packed, bytes):
        return []
    try:
        return list(status_pb2.Status.FromString(packed).details)
    except DecodeError:
        return []  # of another server, between us and ours


def _find(details: list[Any], kind: type[_DetailT]) -> _DetailT | None:
    for detail in details:
        message = kind()
        if detail.Unpack(message):
            return message
    return None
