"""Writes src/edge/pages/openapi.json: `/api` from tables, the proto's own routes from descriptors.

The edge serves the file as it is.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from api_operations import MODEL, OPERATIONS, SCHEMAS, ApiOperation
from descriptors import ROOT, read_sources
from field_schemas import Schema
from google.protobuf.descriptor import Descriptor
from message_schemas import field_comments, message_schemas, reference, schema_name
from openai_operations import OPERATIONS as OPENAI_OPERATIONS
from openai_operations import SCHEMAS as OPENAI_SCHEMAS
from openai_operations import OpenAIOperation
from operation_parts import (
    JSON,
    OF_EVERY_ROUTE,
    OF_KEYS,
    OF_LISTS,
    OF_RESUMING,
    OF_ROUTING,
    SSE,
    body,
    error_schema,
    errors,
    head,
    status_schema,
)
from resumed_stream import PATH as RESUMED
from resumed_stream import resumed_stream
from stream_events import SCHEMAS as EVENT_SCHEMAS
from stream_events import canonical_event, event_stream
from tokenwire import __version__
from tokenwire.edge.api.routes import API
from tokenwire.edge.canonical.routes import CANONICAL, Binding, bindings
from tokenwire.edge.context import REQUEST_ID_HEADER, TIMEOUT_HEADER
from tokenwire.edge.openai.routes import OPENAI
from tokenwire.error_table import TRAITS

OUT = ROOT / "src" / "edge" / "pages" / "openapi.json"
_PROBE: Schema = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {"type": "string", "enum": ["ok", "not_ready"]},
        "llm_models_loaded": {"type": "boolean"},
    },
}
_CANONICAL_REQUESTS: dict[str, dict[str, Any]] = {
    "Generate": {
        "model": MODEL,
        "text": "The capital of France is",
        "sampling": {"maxTokens": 16},
        "delivery": "DELIVERY_FINAL",
    },
    "Chat": {
        "model": MODEL,
        "messages": [
            {"role": "ROLE_USER", "content": [{"text": "What is the capital of France?"}]}
        ],
        "sampling": {"temperature": 0},
    },
    "Tokenize": {"model": MODEL, "text": "Paris is", "returnPieces": True},
    "Detokenize": {"model": MODEL, "tokenIds": [28057, 314]},
    "CountTokens": {"generate": {"model": MODEL, "text": "The capital of France is"}},
}
_CANONICAL_TRANSCRIPT = (
    'data: {"started":{"requestId":"4e3f","model":"' + MODEL + '","numPromptTokens":5}}\n\n'
    'data: {"deltas":{"deltas":[{"text":{"text":" Paris."}}]},"position":"2"}\n\n'
    'data: {"finished":{"usage":{"numPromptTokens":5,"numCompletionTokens":3}},"position":"3"}\n\n'
)


def main() -> int:
    """Writes the document."""
    OUT.write_text(json.dumps(_document(), indent=1, ensure_ascii=False) + "\n")
    return 0


def _document() -> dict[str, Any]:
    """Returns the whole document, OpenAPI 3.1."""
    routes = bindings()
    paths: dict[str, Any] = {
        "/health/live": {"get": _probe("live", "Says that the process runs", has_not_ready=False)},
        "/health/ready": {"get": _probe("ready", "Says whether models serve", has_not_ready=True)},
        "/metrics": {"get": _text("metrics", "Prometheus metrics", "text/plain")},
        "/swagger-ui": {"get": _text("swaggerUi", "This page", "text/html")},
        "/api/openapi.json": {"get": _openapi_operation()},
        "/api/llms": {"get": _llms()},
    }
    for operation in OPERATIONS:
        paths[operation.path] = {"post": _api(operation)}
    paths[RESUMED] = {"get": resumed_stream()}
    for openai_operation in OPENAI_OPERATIONS:
        verb = openai_operation.verb.lower()
        paths[openai_operation.path] = {verb: _openai(openai_operation)}
    for binding in routes:
        paths[binding.path] = {binding.verb.lower(): _canonical(binding)}
    posted = [route.rpc for route in routes if route.verb == "POST"]
    requests = [rpc.input_type for rpc in posted]
    answers = [route.rpc.output_type for route in routes]
    streamed = [rpc.output_type for rpc in posted if rpc.server_streaming]
    comments = field_comments(read_sources())
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tokenwire",
            "version": __version__,
            "description": "Text generation and chat over REST and SSE. The routes under "
            "`/tokenwire/v1/` are the gRPC service itself, in canonical proto-JSON. Every response "
            f"carries `{REQUEST_ID_HEADER}`, the caller's own or a new one.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            # The page puts a model that is there in its place.
            "x-example-model": MODEL,
        },
        "tags": [{"name": name} for name in ("api", "openai", "tokenwire.v1", "operation")],
        # Where keys are in force; a server without them asks for none.
        "security": [{"bearer": []}, {"apiKey": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
            "schemas": {
                **SCHEMAS,
                **OPENAI_SCHEMAS,
                **EVENT_SCHEMAS,
                **message_schemas(requests, answers, comments),
                **{_event_name(kind): canonical_event(schema_name(kind)) for kind in streamed},
                "Error": error_schema(),
                "Status": status_schema(),
                "Probe": _PROBE,
            },
            "parameters": {
                "RequestId": {
                    "name": REQUEST_ID_HEADER,
                    "in": "header",
                    "description": "Id of the request, up to 128 letters, digits and any of "
                    "`._:/+=@-`; comes back with the response. Any other is replaced.",
                    "schema": {"type": "string"},
                },
                "Timeout": {
                    "name": TIMEOUT_HEADER,
                    "in": "header",
                    "description": "Deadline of the call, as in gRPC: up to 8 digits and a unit, "
                    "such as 30S or 500m.",
                    "schema": {"type": "string", "pattern": "^[0-9]{1,8}[HMSmun]$"},
                },
            },
        },
    }


def _api(operation: ApiOperation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.response is not None:
        content[JSON] = {"schema": reference(operation.response), "example": operation.example}
    else:
        is_chat = operation.request == "ApiChatRequest"
        event = "ApiChatEvent" if is_chat else "ApiTextEvent"
        content[SSE] = event_stream(event, operation.example)
    if operation.transcript:
        content[SSE] = event_stream(
            "ApiCompletionsChunk", operation.transcript, is_ended_by_done=True
        )
    return {
        **head("api", operation.operation_id, operation.summary),
        "requestBody": body(operation.request, operation.request_example),
        "responses": {
            "200": {"description": "The answer.", "content": content},
            **errors(API, "Error", frozenset(TRAITS) - OF_ROUTING - {"RESUME_EXPIRED"}),
        },
    }


def _openai(operation: OpenAIOperation) -> dict[str, Any]:
    schema = reference(operation.response)
    content: dict[str, Any] = {JSON: {"schema": schema, "example": operation.example}}
    if operation.transcript:
        chunk = operation.response.replace("Response", "Chunk")
        content[SSE] = event_stream(chunk, operation.transcript, is_ended_by_done=True)
    reasons = frozenset(TRAITS) - OF_ROUTING - OF_RESUMING
    documented = head("openai", operation.operation_id, operation.summary)
    if operation.requests:
        media = {
            "schema": reference(operation.request),
            "examples": {name: {"value": value} for name, value in operation.requests.items()},
        }
        documented["requestBody"] = {"required": True, "content": {JSON: media}}
    else:
        reasons = OF_EVERY_ROUTE | OF_KEYS | OF_LISTS
    if "{id}" in operation.path:
        reasons |= {"UNSUPPORTED_MODEL"}
        identity = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
        documented["parameters"].append({**identity, "example": MODEL})
    documented["responses"] = {
        "200": {"description": "The answer.", "content": content},
        **errors(OPENAI, "OpenAIError", reasons),
    }
    return documented


def _canonical(binding: Binding) -> dict[str, Any]:
    rpc = binding.rpc
    output = reference(schema_name(rpc.output_type))
    content: dict[str, Any] = {JSON: {"schema": output}}
    reasons = frozenset(TRAITS) - OF_ROUTING
    description = "The answer."
    if rpc.server_streaming:
        description = "Events, or with delivery FINAL the one message."
        content[SSE] = event_stream(_event_name(rpc.output_type), _CANONICAL_TRANSCRIPT)
    elif binding.verb == "GET":
        reasons = OF_EVERY_ROUTE | OF_KEYS | OF_LISTS
    operation = {
        **head("tokenwire.v1", rpc.name, f"The rpc {rpc.full_name}"),
        "responses": {
            "200": {"description": description, "content": content},
            **errors(CANONICAL, "Status", reasons),
        },
    }
    if binding.verb == "POST":
        example = _CANONICAL_REQUESTS[rpc.name]
        operation["requestBody"] = body(schema_name(rpc.input_type), example)
    return operation


def _event_name(message: Descriptor) -> str:
    return f"{schema_name(message)}Event"


def _llms() -> dict[str, Any]:
    example = {
        "id": MODEL,
        "name": "SmolLM2 135M Instruct",
        "description": f"LLM model: {MODEL}",
        "size": "135M",
        "capabilities": ["text-generation", "chat"],
    }
    schema = {"type": "array", "items": reference("ApiModel")}
    return {
        **head("api", "apiListModels", "Lists the models"),
        "responses": {
            "200": {
                "description": "The models.",
                "content": {JSON: {"schema": schema, "example": [example]}},
            },
            **errors(API, "Error", OF_EVERY_ROUTE | OF_KEYS | OF_LISTS),
        },
    }


def _probe(operation_id: str, summary: str, *, has_not_ready: bool) -> dict[str, Any]:
    content = {JSON: {"schema": reference("Probe")}}
    responses: dict[str, Any] = {"200": {"description": "Yes.", "content": content}}
    if has_not_ready:
        responses["503"] = {"description": "Not now.", "content": content}
    return {
        **head("operation", operation_id, summary, is_call=False),
        "security": [],
        "responses": responses,
    }


def _text(operation_id: str, summary: str, content_type: str) -> dict[str, Any]:
    content = {content_type: {"schema": {"type": "string"}}}
    return {
        **head("operation", operation_id, summary, is_call=False),
        "responses": {
            "200": {"description": "The text.", "content": content},
            **errors(API, "Error", OF_KEYS),
        },
    }


def _openapi_operation() -> dict[str, Any]:
    content = {JSON: {"schema": {"type": "object"}}}
    return {
        **head("operation", "openapi", "This document", is_call=False),
        "responses": {
            "200": {"description": "The document.", "content": content},
            **errors(API, "Error", OF_KEYS),
        },
    }


if __name__ == "__main__":
    sys.exit(main())
