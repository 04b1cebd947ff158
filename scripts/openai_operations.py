"""Schemas and examples of OpenAI's dialect, `/v1`, for the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from message_schemas import Schema


@dataclass(frozen=True, slots=True)
class OpenAIOperation:
    """One route of `/v1`. `requests` are its examples by name, none for a GET.

    `transcript` is what the same route streams where it is asked to, empty where it never does.
    """

    verb: str
    path: str
    operation_id: str
    summary: str
    request: str
    requests: dict[str, dict[str, Any]]
    response: str
    example: Any
    transcript: str = ""


SCHEMAS: dict[str, Schema] = {}

OPERATIONS: tuple[OpenAIOperation, ...] = ()
