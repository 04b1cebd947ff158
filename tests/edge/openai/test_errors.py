"""Failures as OpenAI's clients read them, with the caller's own names."""

from __future__ import annotations

import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from tokenwire.edge.errors import EdgeError, Failure, failure_of
from tokenwire.edge.openai.errors import FieldNames, encode_failure, error_body
from tokenwire.error_table import TRAITS


def front_failure(reason: str, *violations: tuple[str, str], **metadata: str) -> Failure:
    """A failure as the front tells it."""
    info = error_details_pb2.ErrorInfo(reason=reason, metadata=metadata)
    request = error_details_pb2.BadRequest()
    for field, description in violations:
        request.field_violations.add(field=field, description=description)
    details = [any_pb2.Any(), any_pb2.Any()]
    details[0].Pack(info)
    details[1].Pack(request)
    status = status_pb2.Status(code=code_pb2.UNKNOWN, message="it failed", details=details)
    return Failure(reason, TRAITS[reason], status, {})


@pytest.mark.parametrize(
    ("reason", "status", "kind", "code"),
    [
        ("INVALID_REQUEST", 400, "invalid_request_error", None),
        ("CONTEXT_TOO_LONG", 400, "invalid_request_error", "context_length_exceeded"),
        ("UNAUTHENTICATED", 401, "invalid_request_error", "invalid_api_key"),
        ("PERMISSION_DENIED", 403, "invalid_request_error", "permission_denied"),
        ("UNSUPPORTED_MODEL", 404, "invalid_request_error", "model_not_found"),
        ("NOT_FOUND", 404, "invalid_request_error", "unknown_url"),
        ("METHOD_NOT_ALLOWED", 405, "invalid_request_error", "method_not_supported"),
        ("CLIENT_TIMEOUT", 408, "invalid_request_error", "client_timeout"),
        ("BODY_TOO_LARGE", 413, "invalid_request_error", "body_too_large"),
        ("UNSUPPORTED_MEDIA_TYPE", 415, "invalid_request_error", "unsupported_content_type"),
        ("QUOTA_EXCEEDED", 429, "rate_limit_error", "rate_limit_exceeded"),
        ("UNSPECIFIED", 500, "server_error", "internal_error"),
        ("AT_CAPACITY", 503, "server_error", "at_capacity"),
        ("MODEL_LOADING", 503, "server_error", "model_loading"),
        ("DEADLINE_EXCEEDED", 504, "server_error", "deadline_exceeded"),
    ],
)
def test_statuses_types_and_codes(reason: str, status: int, kind: str, code: str | None) -> None:
    """They are OpenAI's where it fails alike, and name our reason where it does not."""
    answer = encode_failure(failure_of(EdgeError(reason, "it failed")))
    assert answer.status == status
    error = answer.body["error"]
    assert (error["type"], error["code"]) == (kind, code)
    assert set(error) == {"message", "type", "param", "code"}


def test_every_reason_has_a_code() -> None:
    """Nothing but a wrong field goes without: there `param` says more."""
    for reason in TRAITS:
        error = error_body(failure_of(EdgeError(reason, "no")))["error"]
        assert bool(error["code"]) == (reason != "INVALID_REQUEST"), reason


def test_the_first_field_is_param() -> None:
    """All that is wrong stands in the message, in the caller's names."""
    failure = front_failure(
        "INVALID_REQUEST", ("sampling.top_p", "is odd"), ("text", "is empty"), ("n", "too")
    )
    assert error_body(failure)["error"] == {
        "message": "top_p: is odd; prompt: is empty; n: too",
        "type": "invalid_request_error",
        "param": "top_p",
        "code": None,
    }


def test_a_long_prompt_is_told_in_openais_words() -> None:
    """Programs that shorten a conversation and try again look for them."""
    failure = front_failure("CONTEXT_TOO_LONG", ("messages", "has 9 tokens"), limit="8")
    error = error_body(failure)["error"]
    assert error["message"] == (
        "This model's maximum context length is 8 tokens. messages: has 9 tokens"
    )
    assert error["param"] == "messages"


def test_a_time_to_come_back_is_told() -> None:
    """`Retry-After` is the table's, or the front's own."""
    assert encode_failure(failure_of(EdgeError("AT_CAPACITY", "full"))).retry_after_s == 5
    assert encode_failure(failure_of(EdgeError("NOT_FOUND", "no"))).retry_after_s == 0


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("sampling.temperature", "temperature"),
        ("sampling.stop[2]", "stop[2]"),
        ("sampling.max_tokens", "max_completion_tokens"),
        ("constraint", "response_format.json_schema.schema"),
        ("constraint.json_schema", "response_format.json_schema.schema"),
        ("tools[1].name", "tools[1].function.name"),
        ("tools[1].parameters_schema", "tools[1].function.parameters"),
        ("tools", "tools"),
        ("tool_choice.name", "tool_choice.function.name"),
        ("tool_choice.mode", "tool_choice"),
        ("messages[0].content[0]", "messages[0].content"),
        ("messages[0].content[0].text", "messages[0].content"),
        ("messages[1].content[0].text", "messages[1].content[0].text"),
        ("messages[1].content[2].image", "messages[1].content[2].image_url.url"),
        ("messages[1].content[2].image.url", "messages[1].content[2].image_url.url"),
        ("messages[1].tool_calls[0].arguments", "messages[1].tool_calls[0].function.arguments"),
        ("messages[1].tool_calls[0].id", "messages[1].tool_calls[0].id"),
        ("messages[1].tool_call_id", "messages[1].tool_call_id"),
        ("text", "prompt"),
        ("token_ids", "prompt"),
        ("token_ids.ids[3]", "prompt[3]"),
        ("reasoning.enabled", "reasoning_effort"),
        ("reasoning.hidden", "include_reasoning"),
        ("template_arguments", "chat_template_kwargs"),
        ("continue_last_message", "continue_final_message"),
        ("lora_adapter", "lora_path"),
        ("tools[0].function.name", "tools[0].function.name"),
        ("messages[0].content[0].type", "messages[0].content[0].type"),
    ],
)
def test_paths_are_the_callers(path: str, name: str) -> None:
    """A proto path becomes OpenAI's, a path of OpenAI's stays as it is."""
    given = {
        "sampling.max_tokens": "max_completion_tokens",
        "constraint": "response_format.json_schema.schema",
    }
    assert FieldNames(given, string_contents=[0]).name_of(path) == name


def test_one_of_several_prompts_is_named() -> None:
    """The prompt that failed is told by its index."""
    names = FieldNames(has_prompts=True)
    assert names.name_of("text", 2) == "prompt[2]"
    assert names.name_of("token_ids.ids[3]", 2) == "prompt[2][3]"
    assert names.name_of("text") == "prompt"
    assert FieldNames().name_of("text", 0) == "prompt"
