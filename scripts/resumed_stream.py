"""The operation that resumes a stream of `/api`, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from operation_parts import OF_ROUTING, SSE, errors, head
from stream_events import event_stream
from tokenwire.edge.api.kept_streams import AFTER, ID, LAST_ID_HEADER
from tokenwire.edge.api.routes import API
from tokenwire.error_table import TRAITS

PATH = "/api/streams/{request_id}"
_TRANSCRIPT = (
    'id: 7\ndata: {"content":" is Paris."}\n\n'
    'id: end\ndata: {"done":true,"finish_reason":"eos","tokens_generated":8,"model":"owner/model"}'
    "\n\n"
)
# What comes with a prompt, or with a body.
_OF_BODIES = frozenset(
    {
        *("BODY_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE", "CLIENT_TIMEOUT", "CONTEXT_TOO_LONG"),
        *("UNSUPPORTED_MODEL", "AT_CAPACITY", "QUEUE_TIMEOUT", "DEADLINE_UNREACHABLE"),
    }
)


def resumed_stream() -> dict[str, Any]:
    """Returns the operation."""
    operation = head("api", "apiResumeStream", "Streams a request on to a client that comes back")
    place = {
        "schema": {"type": "string", "pattern": f"^(end|{ID})?$"},
        "description": "Id of the last event that arrived; without one all of it is sent.",
    }
    operation["parameters"] += [
        {
            "name": "request_id",
            "in": "path",
            "required": True,
            "description": "Id of a request that had a `detach_timeout`.",
            "schema": {"type": "string"},
        },
        {"name": AFTER, "in": "query", **place},
        {"name": LAST_ID_HEADER, "in": "header", **place},
    ]
    operation["responses"] = {
        "200": {
            "description": "The events behind it, of the route that began it.",
            "content": {SSE: event_stream("ApiResumedEvent", _TRANSCRIPT)},
        },
        "204": {"description": "Everything was told: the id is that of the last event."},
        **errors(API, "Error", frozenset(TRAITS) - OF_ROUTING - _OF_BODIES),
    }
    return operation
