"""Schemas of streams. OpenAPI 3.1 has `schema` describe each event, as an object of its fields."""

from __future__ import annotations

from typing import Any

from field_schemas import Schema
from message_schemas import reference


def event_stream(data: str, transcript: str, *, is_ended_by_done: bool = False) -> dict[str, Any]:
    """Returns the media type of a stream whose events have a schema's object as their data.

    `is_ended_by_done`: OpenAI's clients expect a last event that is no JSON.
    """
    written: Schema = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": reference(data),
    }
    if is_ended_by_done:
        written = {"anyOf": [written, {"const": "[DONE]"}]}
    schema: Schema = {
        "type": "object",
        "description": "One event. Lines that begin with a colon only show that the server lives.",
        "required": ["data"],
        "properties": {
            "data": written,
            "id": {"type": "string", "description": "Where the request has a `detach_timeout`."},
        },
    }
    return {"schema": schema, "example": transcript}


def _event(content: Schema, finished: Schema | None = None) -> Schema:
    end: Schema = {
        "done": {"const": True},
        "finish_reason": {"type": "string", "enum": ["stop", "eos", "length", "error"]},
        "tokens_generated": {"type": "integer"},
        "model": {"type": "string"},
    }
    return {
        "description": "A piece of the answer, its end, or what went wrong behind the beginning.",
        "oneOf": [
            {"type": "object", "required": list(content), "properties": content},
            {
                "type": "object",
                "required": list(end),
                "properties": {**end, **(finished or {})},
            },
            {
                "type": "object",
                "required": ["error"],
                "properties": {"error": {"type": "string"}, "code": {"type": "string"}},
            },
        ],
    }


def _chunk(kind: str, choice: Schema, error: Schema) -> Schema:
    usage: Schema = {"anyOf": [reference("OpenAIUsage"), {"type": "null"}]}
    piece: Schema = {
        "type": "object",
        "required": ["id", "object", "created", "model", "choices"],
        "properties": {
            "id": {"type": "string"},
            "object": {"const": kind},
            "created": {"type": "integer", "description": "Unix time in seconds."},
            "model": {"type": "string"},
            "system_fingerprint": {"type": ["string", "null"]},
            "choices": {"type": "array", "items": choice},
            "usage": {**usage, "description": "Where asked for; then the last one has no choices."},
        },
    }
    return {
        "description": "A piece of the answer, or what went wrong behind the beginning.",
        "anyOf": [piece, error],
    }


_REASON: Schema = {"enum": ["stop", "length", "tool_calls", None]}
_TEXT_CHOICE: Schema = {
    "type": "object",
    "required": ["text", "index", "finish_reason"],
    "properties": {
        "text": {"type": "string"},
        "index": {"type": "integer"},
        "finish_reason": _REASON,
    },
}
_CHAT_CHOICE: Schema = {
    "type": "object",
    "required": ["delta", "index", "finish_reason"],
    "properties": {
        "delta": {
            "type": "object",
            "properties": {
                "role": {"const": "assistant"},
                "content": {"type": ["string", "null"]},
                "reasoning_content": {"type": "string"},
                "tool_calls": {"type": "array", "items": {"type": "object"}},
            },
        },
        "index": {"type": "integer"},
        "finish_reason": _REASON,
    },
}
_CHOICES: Schema = {"choices": {"type": "array", "items": _TEXT_CHOICE}}
_OPENAI_ERROR = reference("OpenAIError")
SCHEMAS: dict[str, Schema] = {
    "ApiChatEvent": _event({"content": {"type": "string"}}),
    "ApiTextEvent": _event({"text": {"type": "string"}}, _CHOICES),
    "ApiResumedEvent": {"anyOf": [reference("ApiChatEvent"), reference("ApiTextEvent")]},
    "ApiCompletionsChunk": _chunk("text_completion", _TEXT_CHOICE, _OPENAI_ERROR),
    "OpenAIChatChunk": _chunk("chat.completion.chunk", _CHAT_CHOICE, _OPENAI_ERROR),
    "OpenAICompletionsChunk": _chunk("text_completion", _TEXT_CHOICE, _OPENAI_ERROR),
}


def canonical_event(message: str) -> Schema:
    """Returns the schema of an event that is a message, or the status that ends a stream."""
    failed: Schema = {
        "type": "object",
        "required": ["error"],
        "properties": {"error": reference("Status")},
    }
    return {"anyOf": [reference(message), failed]}
