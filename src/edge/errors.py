"""What went wrong with a request, the front's failures and the edge's own, in one form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import grpc
import structlog
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from ..error_table import DOMAIN, TRAITS
from ..generated.tokenwire.v1 import options_pb2

DetailT = TypeVar("DetailT", bound=Message)

_logger = structlog.get_logger(__name__)

_DETAILS_KEY = "grpc-status-details-bin"

# For statuses without an ErrorInfo, which gRPC itself makes: whose traits they share.
_REASON_OF_CODE: Mapping[int, str] = {
    code_pb2.INVALID_ARGUMENT: "INVALID_REQUEST",
    code_pb2.UNAVAILABLE: "ENGINE_LOST",
    code_pb2.CANCELLED: "ENGINE_LOST",
    code_pb2.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    code_pb2.RESOURCE_EXHAUSTED: "BODY_TOO_LARGE",
    code_pb2.UNAUTHENTICATED: "UNAUTHENTICATED",
    code_pb2.PERMISSION_DENIED: "PERMISSION_DENIED",
}
# In our words: what the library says holds addresses of the inside.
_MESSAGE_OF_CODE: Mapping[int, str] = {
    code_pb2.UNAVAILABLE: "the inference server cannot be reached",
    code_pb2.CANCELLED: "the inference server ended the call",
    code_pb2.DEADLINE_EXCEEDED: "the deadline passed",
    code_pb2.RESOURCE_EXHAUSTED: "the request is larger than the inference server takes",
}
# Failures that only HTTP has, in the words of gRPC.
_CODE_OF_HTTP = {
    404: code_pb2.NOT_FOUND,
    405: code_pb2.UNIMPLEMENTED,
    408: code_pb2.DEADLINE_EXCEEDED,
}


class EdgeError(Exception):
    """A failure of the edge's own, told to the caller in its own words.

    `violation` is the path of a field and what is wrong with it.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        violation: tuple[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = _text(message)
        super().__init__(self.message)
        self.reason = reason
        self.violation = violation
        self.metadata = dict(metadata or {})
        self.headers = dict(headers or {})


class CallFailed(Exception):
    """One of the calls that a request makes failed, counted from 0, with `error`."""

    def __init__(self, index: int, error: Exception) -> None:
        super().__init__(f"call {index} failed")
        self.index = index
        self.error = error


def invalid(field: str, description: str) -> EdgeError:
    """Returns the failure of a request whose field `field` cannot be read."""
    violation = (_text(field), _text(description))
    return EdgeError("INVALID_REQUEST", ": ".join(violation), violation=violation)


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with one request, before a dialect writes it.

    `is_own`: the edge found it, and calls the fields as the caller does. `call_index` says which
    of several calls failed.
    """

    reason: str
    traits: options_pb2.ErrorTraits
    status: status_pb2.Status
    headers: Mapping[str, str]
    is_own: bool = False
    call_index: int | None = None

    @property
    def message(self) -> str:
        """What went wrong, for people, with the names of proto fields."""
        return str(self.status.message)

    def has_violation(self, path: str) -> bool:
        """Whether the front found a field at fault, by its path in the proto."""
        return any(field == path for field, _ in self.violations())

    @property
    def retry_after_s(self) -> int:
        """When another try is worthwhile: as the front says, else as the table does; 0: never."""
        retry = find_detail(self.status, error_details_pb2.RetryInfo)
        return self.traits.retry_after_s if retry is None else int(retry.retry_delay.seconds)

    def violations(self) -> list[tuple[str, str]]:
        """Returns the paths of the fields that are wrong, each with what is wrong with it."""
        request = find_detail(self.status, error_details_pb2.BadRequest)
        if request is None:
            return []
        return [(wrong.field, wrong.description) for wrong in request.field_violations]


def find_detail(status: status_pb2.Status, kind: type[DetailT]) -> DetailT | None:
    """Returns the first detail of a type that a status has."""
    found = kind()
    for detail in status.details:
        if detail.Unpack(found):
            return found
    return None


def failure_of(error: BaseException) -> Failure:
    """Reads a failure out of anything raised while a request was served.

    What nobody foresaw is logged in full and answered in general words.
    """
    if isinstance(error, CallFailed):
        return replace(failure_of(error.error), call_index=error.index)
    if isinstance(error, EdgeError):
        return _own_failure(error)
    if isinstance(error, grpc.aio.AioRpcError):
        failure = _front_failure(error)
        if failure is not None:
            return failure
    _logger.error("request_failed", exc_info=error)
    traits = TRAITS["UNSPECIFIED"]
    return _own_failure(EdgeError("UNSPECIFIED", traits.example_message))


def rest_text(failure: Failure) -> str:
    """Returns what went wrong in the words of REST, with the caller's own field names."""
    violations = [
        f"{path if failure.is_own else _rest_field(path)}: {description}"
        for path, description in failure.violations()
    ]
    message = "; ".join(violations) or failure.message
    prefix = failure.traits.rest_prefix
    return f"{prefix}: {message}" if prefix else message


def _own_failure(error: EdgeError) -> Failure:
    traits = TRAITS[error.reason]
    code = traits.grpc_code or _CODE_OF_HTTP.get(traits.http_status, code_pb2.INVALID_ARGUMENT)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    details = [_packed(info)]
    if error.violation is not None:
        field, description = error.violation
        request = error_details_pb2.BadRequest()
        request.field_violations.add(field=field, description=description)
        details.append(_packed(request))
    status = status_pb2.Status(code=code, message=error.message, details=details)
    return Failure(error.reason, traits, status, error.headers, is_own=True)


def _front_failure(error: grpc.aio.AioRpcError) -> Failure | None:
    """Reads a status; None where neither its details nor its code say anything to a caller."""
    status = _status_of(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN and info.reason in TRAITS:
            return Failure(info.reason, TRAITS[info.reason], status, {})
    reason = _REASON_OF_CODE.get(status.code)
    if reason is None:
        return None
    message = _MESSAGE_OF_CODE.get(status.code, status.message)
    _logger.warning("front_call_failed", code=error.code().name, details=error.details())
    bare = status_pb2.Status(code=status.code, message=message)
    # No reason of the table: the front never said one.
    return Failure("", TRAITS[reason], bare, {})


def _status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            return status_pb2.Status.FromString(value)
    code: int = error.code().value[0]
    return status_pb2.Status(code=code, message=error.details() or "")


def _text(value: str) -> str:
    """Replaces what is no text: headers and paths may hold it, JSON and protobuf take none."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _rest_field(path: str) -> str:
    """Turns a proto field path into the name that callers of flat JSON use."""
    path = path.removeprefix("sampling.").removeprefix("resume.")
    if path == "after_position":
        return "after"
    if path == "text":
        return "prompt"
    return re.sub(r"^(messages\[\d+\]\.content)\[0\](\.text)?$", r"\1", path)


def _packed(message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
