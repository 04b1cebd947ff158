"""The failures of `/api`: `{"error", "code"}`."""

from __future__ import annotations

from typing import Any

from ..dialect import FailureAnswer
from ..errors import Failure, rest_text

_STREAM_RETRY_AFTER_S = 10
_NO_TURN = frozenset({"AT_CAPACITY", "QUEUE_TIMEOUT"})


def encode_failure(failure: Failure) -> FailureAnswer:
    """Returns the answer of a route that is no stream."""
    traits = failure.traits
    return FailureAnswer(
        traits.api_http_status or traits.http_status,
        traits.api_retry_after_s or failure.retry_after_s,
        error_body(failure),
    )


def encode_stream_failure(failure: Failure) -> FailureAnswer:
    """Returns the answer of a stream route, which says in its own way that no turn is free."""
    answer = encode_failure(failure)
    if failure.reason not in _NO_TURN:
        return answer
    body = {
        "error": "Service temporarily at capacity",
        "message": failure.message,
        "retry_after_seconds": _STREAM_RETRY_AFTER_S,
        "code": failure.traits.rest_code,
    }
    return FailureAnswer(answer.status, _STREAM_RETRY_AFTER_S, body)


def error_body(failure: Failure) -> dict[str, Any]:
    """Returns the body of an error, which is also the last event of a failed stream."""
    return {"error": rest_text(failure), "code": failure.traits.rest_code}
