"""What operations of the OpenAPI document share: parameters, bodies, failures."""

from __future__ import annotations

from typing import Any

from document_errors import sort_metadata
from field_schemas import Schema
from message_schemas import reference
from tokenwire.edge.dialect import Dialect
from tokenwire.edge.errors import EdgeError, failure_of
from tokenwire.error_table import TRAITS

JSON = "application/json"
SSE = "text/event-stream"
OF_ROUTING = frozenset({"NOT_FOUND", "METHOD_NOT_ALLOWED"})
OF_EVERY_ROUTE = frozenset({"HEADERS_TOO_LARGE", "EXPECTATION_FAILED", "DRAINING", "UNSPECIFIED"})
OF_KEYS = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
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
        metadata = {entry.key: entry.value for entry in traits.example_metadata}
        failure = failure_of(EdgeError(reason, traits.example_message, metadata=metadata))
        answer = dialect.encode_failure(failure)
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
