"""Writes docs/errors.md from the option table of `ErrorReason`.

The example payloads are made by the front's own statuses and the edge's own bodies.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import grpc
from descriptors import ENUMS, ROOT, VALUES, read_sources
from google.protobuf.json_format import MessageToDict
from google.rpc import code_pb2, status_pb2
from tokenwire.edge.api.errors import encode_failure
from tokenwire.edge.errors import EdgeError, failure_of
from tokenwire.error_table import TRAITS
from tokenwire.generated.tokenwire.v1 import options_pb2
from tokenwire.server.contract import errors
from tokenwire.server.rpc.statuses import CallStatus, internal_status, status_of

OUT = ROOT / "docs" / "errors.md"
REQUEST_ID = "5f8f1f3c0a6b4b0fa5a1d2f60cf0a6b1"
# Made by gRPC in the client, or by the edge's channel: the front never sends it.
BY_GRPC = "DEADLINE_EXCEEDED"
INTRODUCTION = """\
<!-- Written from protos/ by scripts/document_errors.py; run `make generate` after a change. -->

# Errors

Every failure has one reason, a value of `tokenwire.v1.ErrorReason`, and one table says how it looks
on every face of the service. The table is in
[errors.proto](../protos/tokenwire/v1/errors.proto); server, edge and this page read it from there.

- **gRPC**: a `google.rpc.Status` in the trailers (`grpc-status-details-bin`). Those of
  `InferenceService` hold `ErrorInfo` (the reason, domain `tokenwire`, metadata) and `RequestInfo`
  (the request's id); `BadRequest` names fields, `ResourceInfo` an unknown model, `RetryInfo` when
  to try again. What is worth another try also sends the trailer `grpc-retry-pushback-ms`.
- **`/tokenwire/v1`**: the same status as canonical proto-JSON.
- **`/api`**: `{"error": "<text>", "code": "<CODE>"}`. Fields have the caller's own names there:
  `temperature`, not `sampling.temperature`.
- Every HTTP answer carries `X-Request-Id`; what is worth another try carries `Retry-After`.
- A failure after a stream began is its last event: `data: {"error": "<text>", "code": "<CODE>"}` on
  `/api`, `data: {"error": <status>}` on `/tokenwire/v1`, and
  `data: {"error": {"message", "type", "code"}}` on `/api/completions` with `"stream": true`.
- A stream route of `/api` waits for no turn. Where none is free it answers 503, `Retry-After: 10`
  and `{"error": "Service temporarily at capacity", "message": "…", "retry_after_seconds": 10,
  "code": "SERVICE_UNAVAILABLE"}`.

Some failures gRPC makes by itself, without reason and details: `DEADLINE_EXCEEDED` when the
caller's deadline passes, `RESOURCE_EXHAUSTED` for a message above `LLM_MAX_MESSAGE_BYTES`,
`UNAVAILABLE` when the server cannot be reached. The edge answers them with 504, 413 and 503.

"""


def main() -> int:
    """Writes the page."""
    source = read_sources()["errors"]
    index, enum = next(
        (i, e) for i, e in enumerate(source.file.enum_type) if e.name == "ErrorReason"
    )
    comments = {
        value.name: source.comment(ENUMS, index, VALUES, number)
        for number, value in enumerate(enum.value)
    }
    page = "".join([INTRODUCTION, *_table(comments), "\n", *_examples(comments)])
    OUT.write_text(page.rstrip("\n") + "\n")
    return 0


def sort_metadata(status: dict[str, Any]) -> dict[str, Any]:
    """Returns a status with its metadata in one order: it is a map, and comes in any."""
    for detail in status.get("details", []):
        if "metadata" in detail:
            detail["metadata"] = dict(sorted(detail["metadata"].items(), reverse=True))
    return status


def _table(comments: dict[str, str]) -> Iterator[str]:
    yield "| Reason | gRPC code | HTTP status | REST code | Retry after | Meaning |\n"
    yield "| --- | --- | --- | --- | --- | --- |\n"
    for reason, traits in TRAITS.items():
        code = f"`{code_pb2.Code.Name(traits.grpc_code)}`" if traits.grpc_code else "-"
        status = str(traits.http_status)
        if traits.api_http_status:
            status += f", on `/api` {traits.api_http_status}"
        retry = f"{traits.retry_after_s} s" if traits.retry_after_s else "-"
        if traits.api_retry_after_s:
            retry += f", on `/api` {traits.api_retry_after_s} s"
        meaning = comments[f"ERROR_REASON_{reason}"]
        shown = _shown(reason)
        yield (
            f"| [`{shown}`](#{shown.lower()}) | {code} | {status} | `{traits.rest_code}` "
            f"| {retry} | {meaning} |\n"
        )


def _examples(comments: dict[str, str]) -> Iterator[str]:
    for reason, traits in TRAITS.items():
        yield f"## {_shown(reason)}\n\n{comments[f'ERROR_REASON_{reason}']}\n\n"
        metadata = {entry.key: entry.value for entry in traits.example_metadata}
        error: BaseException = EdgeError(reason, traits.example_message, metadata=metadata)
        if traits.grpc_code:
            call = _call_status(reason, traits)
            if reason != "UNSPECIFIED":
                error = _client_error(call)
            yield f"gRPC status `{call.code.name}`, with its details:\n\n"
            yield _json(_details(call))
        answer = encode_failure(failure_of(error))
        header = f", `Retry-After: {answer.retry_after_s}`" if answer.retry_after_s else ""
        yield f"On `/api`, status {answer.status}{header}:\n\n"
        yield _json(answer.body)


def _shown(reason: str) -> str:
    # What `ErrorInfo.reason` says of what nobody foresaw.
    return "INTERNAL" if reason == "UNSPECIFIED" else reason


def _call_status(reason: str, traits: options_pb2.ErrorTraits) -> CallStatus:
    if reason == "UNSPECIFIED":
        return internal_status(REQUEST_ID)
    return status_of(_failure(reason, traits), REQUEST_ID)


def _failure(reason: str, traits: options_pb2.ErrorTraits) -> errors.InferenceError:
    message = traits.example_message
    if reason == "UNSUPPORTED_MODEL":
        return errors.UnsupportedModel(message.split("'")[1], [message.split("'")[3]])
    metadata = {entry.key: entry.value for entry in traits.example_metadata}
    failure = errors.InferenceError(message, metadata=metadata)
    failure.reason = reason  # type: ignore[misc]  # a class of its own for each, where it is raised
    if traits.grpc_code == code_pb2.INVALID_ARGUMENT:
        field, _, description = message.partition(": ")
        failure.violations = ((field, description),)
    return failure


def _details(call: CallStatus) -> dict[str, Any]:
    packed = dict(call.trailing_metadata)["grpc-status-details-bin"]
    assert isinstance(packed, bytes)
    return sort_metadata(MessageToDict(status_pb2.Status.FromString(packed)))


def _client_error(call: CallStatus) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        call.code,
        initial_metadata=grpc.aio.Metadata(),
        trailing_metadata=grpc.aio.Metadata(*call.trailing_metadata),
        details=call.details,
    )


def _json(value: object) -> str:
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```\n\n"


if __name__ == "__main__":
    sys.exit(main())
