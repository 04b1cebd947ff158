"""The failures of OpenAI's dialect: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from google.rpc import error_details_pb2

from ..dialect import FailureAnswer
from ..errors import Failure, find_detail

_INVALID = "invalid_request_error"
_SERVER = "server_error"
# What OpenAI's own API says where it fails alike. `code` of all others is our reason in lower case.
_TYPES_AND_CODES: Mapping[str, tuple[str, str | None]] = {
    "INVALID_REQUEST": (_INVALID, None),
    "CONTEXT_TOO_LONG": (_INVALID, "context_length_exceeded"),
    "UNSUPPORTED_MODEL": (_INVALID, "model_not_found"),
    "UNAUTHENTICATED": (_INVALID, "invalid_api_key"),
    "QUOTA_EXCEEDED": ("rate_limit_error", "rate_limit_exceeded"),
    "NOT_FOUND": (_INVALID, "unknown_url"),
    "METHOD_NOT_ALLOWED": (_INVALID, "method_not_supported"),
    "UNSUPPORTED_MEDIA_TYPE": (_INVALID, "unsupported_content_type"),
    "UNSPECIFIED": (_SERVER, "internal_error"),
}
_FIRST_SERVER_STATUS = 500

# From the paths of proto fields to those of OpenAI's JSON. No path of OpenAI's fits one of them.
_RENAMED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^sampling\.", ""),
        (r"^(tools\[\d+\])\.(name|description)$", r"\1.function.\2"),
        (r"^(tools\[\d+\])\.parameters_schema", r"\1.function.parameters"),
        (r"^tool_choice\.name$", "tool_choice.function.name"),
        (r"^tool_choice\.mode$", "tool_choice"),
        (r"^(messages\[\d+\]\.tool_calls\[\d+\])\.(name|arguments)$", r"\1.function.\2"),
        (r"^(messages\[\d+\]\.content\[\d+\])\.image(\.(url|data|source))?$", r"\1.image_url.url"),
        (r"^reasoning\.enabled$", "reasoning_effort"),
        (r"^reasoning\.hidden$", "include_reasoning"),
        (r"^template_arguments(\.values)?", "chat_template_kwargs"),
        (r"^continue_last_message$", "continue_final_message"),
        (r"^lora_adapter$", "lora_path"),
    )
)
_TEXT_PART = re.compile(r"^messages\[(\d+)\]\.content\[\d+\](\.text)?$")
_PROMPT = re.compile(r"^(text|token_ids)(?=$|[.\[])(\.ids)?")


class FieldNames:
    """How the caller of one request named what the proto's fields hold.

    `has_prompts`: there is a list of prompts, each of them a call.
    """

    def __init__(
        self,
        given: Mapping[str, str] | None = None,
        string_contents: Iterable[int] = (),
        *,
        has_prompts: bool = False,
    ) -> None:
        self._given = dict(given or {})
        self._string_contents = frozenset(string_contents)
        self._has_prompts = has_prompts

    def name_of(self, path: str, call_index: int | None = None) -> str:
        """Returns the caller's path of a proto field; a path that is the caller's stays.

        `call_index` says in which of several calls the field is.
        """
        for field, name in self._given.items():
            if path == field or path.startswith((f"{field}.", f"{field}[")):
                return name
        match = _TEXT_PART.match(path)
        if match is not None and int(match[1]) in self._string_contents:
            return f"messages[{match[1]}].content"
        is_one_of_several = self._has_prompts and call_index is not None
        prompt = f"prompt[{call_index}]" if is_one_of_several else "prompt"
        path = _PROMPT.sub(prompt, path)
        for pattern, replacement in _RENAMED:
            path = pattern.sub(replacement, path)
        return path


_NO_NAMES = FieldNames()


def encode_failure(failure: Failure, names: FieldNames = _NO_NAMES) -> FailureAnswer:
    """Returns the answer of a route that has sent nothing yet."""
    return FailureAnswer(
        failure.traits.http_status, failure.retry_after_s, error_body(failure, names)
    )


def error_body(failure: Failure, names: FieldNames = _NO_NAMES) -> dict[str, Any]:
    """Returns what OpenAI's clients raise. `param` is the first field that is wrong."""
    status = failure.traits.http_status
    by_status = _SERVER if status >= _FIRST_SERVER_STATUS else _INVALID
    kind, code = _TYPES_AND_CODES.get(
        failure.reason, (by_status, failure.reason.lower() or failure.traits.rest_code.lower())
    )
    violations = [
        (names.name_of(path, failure.call_index), text) for path, text in failure.violations()
    ]
    message = "; ".join(f"{path}: {text}" for path, text in violations) or failure.message
    param = violations[0][0] if violations else None
    if failure.reason == "CONTEXT_TOO_LONG":
        info = find_detail(failure.status, error_details_pb2.ErrorInfo)
        if info is not None and "limit" in info.metadata:
            # Programs look for OpenAI's own words, to shorten the conversation and try again.
            limit = info.metadata["limit"]
            message = f"This model's maximum context length is {limit} tokens. {message}"
    elif failure.reason == "UNSUPPORTED_MODEL":
        param = "model"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
