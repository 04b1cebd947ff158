"""The failures of OpenAI's dialect: `{"error": {"message", "type", "code"}}`."""

from __future__ import annotations

from typing import Any

from ..errors import Failure, rest_text


def error_body(failure: Failure) -> dict[str, Any]:
    """Returns what OpenAI's clients raise."""
    code = failure.traits.rest_code
    return {"error": {"message": rest_text(failure), "type": code.lower(), "code": code}}
