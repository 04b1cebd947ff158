"""What operations of the OpenAPI document share: parameters, bodies, failures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from document_errors import sort_metadata
from field_schemas import Schema
from message_schemas import reference
from tokenwire.edge.dialect import Dialect
from tokenwire.edge.errors import EdgeError, Failure, failure_of
from tokenwire.error_table import TRAITS
from tokenwire.generated.tokenwire.v1 import options_pb2

JSON = "application/json"
SSE = "text/event-stream"
OF_ROUTING = frozenset({"NOT_FOUND", "METHOD_NOT_ALLOWED"})
OF_EVERY_ROUTE = frozenset({"HEADERS_TOO_LARGE", "EXPECTATION_FAILED", "DRAINING", "UNSPECIFIED"})
OF_KEYS = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
# Of requests that go on without their client.
OF_RESUMING = frozenset({"TAKEN_OVER", "RESUME_EXPIRED"})
OF_LISTS = frozenset({"DEADLINE_EXCEEDED", "INVALID_REQUEST", "QUOTA_EXCEEDED"})
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which another try is worthwhile, where one is.",
        "schema": {"type": "integer"},
    }
}
_AUTHENTICATE = {
    "WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}},
}
_HEADERS = {401: _AUTHENTICATE, 429: _RETRY_AFTER, 503: _RETRY_AFTER}


def errors(dialect: Dialect, schema: str, reasons: frozenset[str]) -> dict[str, Any]:
    """Groups the failures by HTTP status, with one example for each reason."""
    by_status: dict[int, dict[str, Any]] = {}
    for reason, traits in TRAITS.items():
        if reason not in reasons:
            continue
        answer = dialect.encode_failure(_example(reason, traits))
        value = sort_metadata(dict(answer.body))
        by_status.setdefault(answer.status, {})[reason] = {"value": value}
    return {
        str(status): {
            "description": ", ".join(examples),
            "content": {JSON: {"schema": reference(schema), "examples": examples}},
            **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
        }
        for status, examples in sorted(by_status.items())
    }


def _example(reason: str, traits: options_pb2.ErrorTraits) -> Failure:
    """Returns a failure as the front tells it: a field goes by its name in the proto."""
    metadata = {entry.key: entry.value for entry in traits.example_metadata}
    field, _, description = traits.example_message.partition(": ")
    violation = (field, description) if reason == "INVALID_REQUEST" else None
    error = EdgeError(reason, traits.example_message, violation=violation, metadata=metadata)
    return replace(failure_of(error), is_own=False)


def head(tag: str, operation_id: str, summary: str, *, is_call: bool = True) -> dict[str, Any]:
    """Returns what an operation begins with."""
    names = ("RequestId", "Timeout") if is_call else ("RequestId",)
    parameters = [{"$ref": f"#/components/parameters/{name}"} for name in names]
    return {
        "tags": [tag],
        "operationId": operation_id,
        "summary": summary,
        "parameters": parameters,
    }


def body(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    """Returns a body that is required, with one example."""
    return {
        "required": True,
        "content": {JSON: {"schema": reference(schema), "example": example}},
    }


def error_schema() -> Schema:
    """Returns the schema of what the routes of `/api` answer where they fail."""
    return {
        "type": "object",
        "required": ["error", "code"],
        "properties": {
            "error": {"type": "string", "description": "What went wrong, for people."},
            "code": {
                "type": "string",
                "enum": sorted({traits.rest_code for traits in TRAITS.values()}),
            },
            "message": {"type": "string", "description": "A stream route at capacity only."},
            "retry_after_seconds": {"type": "integer", "description": "As `message`."},
        },
    }


def status_schema() -> Schema:
    """Returns the schema of what the routes of the proto answer where they fail."""
    return {
        "type": "object",
        "description": "A google.rpc.Status in canonical JSON.",
        "required": ["code", "message"],
        "properties": {
            "code": {"type": "integer", "description": "A gRPC status code."},
            "message": {"type": "string"},
            "details": {"type": "array", "items": {"type": "object"}},
        },
    }
