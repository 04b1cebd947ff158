"""Schemas and examples of the `/api` dialect, for the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from field_schemas import Schema
from message_schemas import reference

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
_REASON: Schema = {"type": "string", "enum": ["stop", "eos", "length", "error"]}
_MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "What is the capital of France?"},
]
_ANSWER = "The capital of France is Paris."


def _string(description: str, **bounds: int) -> Schema:
    return {"type": "string", **bounds, "description": description}


def _number(description: str) -> Schema:
    return {"type": ["number", "null"], "description": description}


def _integer(description: str, **bounds: int) -> Schema:
    return {"type": ["integer", "null"], **bounds, "description": description}


def _object(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "required": required, "properties": properties}


def _request(required: list[str], **properties: Schema) -> Schema:
    return {
        **_object(required, **properties),
        "description": "A field of gRPC or of OpenAI that is not listed here is refused by name, "
        "unless its value asks for nothing. So is, on `/api/generate` and `/api/chat`, what only "
        "Ollama's clients send, such as `options`. Any other is ignored.",
    }


_DEFAULT = "Absent: the server's default."
_SAMPLING: dict[str, Schema] = {
    "temperature": _number(f"Moved into 0 to 2; 0 is greedy. {_DEFAULT}"),
    "top_p": _number(f"Moved into 0 to 1. {_DEFAULT}"),
    "max_tokens": _integer(
        f"Most tokens to generate, moved under the server's limit. {_DEFAULT}", minimum=0
    ),
    "max_completion_tokens": _integer(
        "Another name of `max_tokens`; both only if equal.", minimum=0
    ),
    "stop": {
        "type": ["array", "string", "null"],
        "maxLength": 256,
        "maxItems": 16,
        "items": {"type": "string", "minLength": 1, "maxLength": 256},
        "description": "Strings that end the answer; they never appear in it.",
    },
    "top_k": _integer("Keeps the k most likely tokens. Absent or 0: off."),
    "min_p": _number("Keeps tokens at least this likely relative to the likeliest. Absent: off."),
    "repetition_penalty": _number("Divides the logits of tokens already present. Absent: off."),
    "presence_penalty": _number("Subtracted once from tokens already in the output. Absent: off."),
    "frequency_penalty": _number("Subtracted per occurrence in the output. Absent: off."),
    "min_tokens": _integer("Fewest tokens before the model may end. Absent: none.", minimum=0),
    "seed": _integer(
        "Seed of the sampler. Refused where the engine cannot honour one.",
        minimum=0,
        maximum=2**32 - 1,
    ),
    "logit_bias": {
        "type": ["object", "null"],
        "maxProperties": 1024,
        "propertyNames": {"pattern": "^[0-9]{1,9}$"},
        "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
        "description": "Added to the logits of the tokens with these ids.",
    },
}
_SHARED: dict[str, Schema] = {
    **_SAMPLING,
    "detach_timeout": {
        "type": ["number", "null"],
        "minimum": 0,
        "description": "Seconds for which the request goes on without its client, and can be "
        "resumed at `/api/streams/{request_id}`: the events of a stream have ids then.",
    },
}
_MODEL_FIELD = _string("Id of a model of `/api/llms`.")
_COMPLETION: dict[str, Schema] = {
    "id": {"type": "string"},
    "object": {"const": "text_completion"},
    "created": {"type": "integer", "description": "Unix time in seconds."},
    "system_fingerprint": {"type": ["string", "null"]},
    "choices": {
        "type": "array",
        "items": _object(
            ["text", "index", "finish_reason", "logprobs"],
            text={"type": "string"},
            index={"type": "integer"},
            finish_reason={"enum": ["stop", "length", None]},
            logprobs={"type": "null"},
        ),
    },
    "usage": _object(
        ["prompt_tokens", "completion_tokens", "total_tokens"],
        prompt_tokens={"type": "integer"},
        completion_tokens={"type": "integer"},
        total_tokens={"type": "integer"},
    ),
}
_TEXT_ANSWER: dict[str, Schema] = {
    "text": _string("The generated text."),
    "model": _string("Id of the model."),
    "tokens_generated": {"type": "integer"},
    "finish_reason": _REASON,
}

SCHEMAS: dict[str, Schema] = {
    "ApiGenerateRequest": _request(
        ["model", "prompt"],
        model=_MODEL_FIELD,
        prompt=_string("An instruction; answered with the model's chat template.", minLength=1),
        **_SHARED,
    ),
    "ApiChatRequest": _request(
        ["model", "messages"],
        model=_MODEL_FIELD,
        messages={"type": "array", "minItems": 1, "items": reference("ApiMessage")},
        **_SHARED,
    ),
    "ApiMessage": _object(
        ["role", "content"],
        role={"type": "string", "enum": ["system", "user", "assistant"]},
        content={
            "type": ["string", "array"],
            "items": reference("ApiTextPart"),
            "minItems": 1,
            "maxItems": 256,
            "description": "A text, or parts of text, which are joined.",
        },
    ),
    "ApiTextPart": _object(
        ["type", "text"],
        type={"const": "text", "description": "Parts of other types are refused."},
        text={"type": "string"},
    ),
    "ApiAnswerMessage": _object(
        ["role", "content"],
        role={"const": "assistant"},
        content={"type": "string"},
    ),
    "ApiCompletionsRequest": _request(
        ["model", "prompt"],
        model=_MODEL_FIELD,
        prompt=_string("A text to continue.", minLength=1),
        suffix={
            "type": ["string", "null"],
            "description": "Text after the gap to fill, for models with fill-in-the-middle tokens.",
        },
        stream={
            "type": ["boolean", "null"],
            "description": "On `/api/completions`: OpenAI-style events, ended by `[DONE]`.",
        },
        stream_options={
            **_object([], include_usage={"type": ["boolean", "null"]}),
            "description": "On `/api/completions` alone.",
        },
        **_SHARED,
    ),
    "ApiTextResponse": _object(list(_TEXT_ANSWER), **_TEXT_ANSWER),
    "ApiChatResponse": _object(
        ["message", "model", "tokens_generated", "finish_reason"],
        message=reference("ApiAnswerMessage"),
        model=_TEXT_ANSWER["model"],
        tokens_generated={"type": "integer"},
        finish_reason=_REASON,
    ),
    "ApiCompletionsResponse": _object([*_TEXT_ANSWER, *_COMPLETION], **_TEXT_ANSWER, **_COMPLETION),
    "ApiModel": _object(
        ["id", "name", "description", "capabilities"],
        id={"type": "string"},
        name={"type": "string"},
        description={"type": "string"},
        size=_string("Number of parameters, such as 7B."),
        capabilities={
            "type": "array",
            "items": {"type": "string", "enum": ["text-generation", "chat"]},
        },
    ),
}

_TEXT_EXAMPLE = {"text": _ANSWER, "model": MODEL, "tokens_generated": 8, "finish_reason": "eos"}
_PROMPT_EXAMPLE = {"model": MODEL, "prompt": "What is the capital of France?", "max_tokens": 64}
_CHAT_EXAMPLE = {"model": MODEL, "messages": _MESSAGES, "temperature": 0}
_CONTINUE_EXAMPLE = {"model": MODEL, "prompt": "The capital of France is", "max_tokens": 16}
_CHUNK = (
    'data: {"id":"cmpl-4e3f","object":"text_completion","created":1767225600,"model":"'
    + MODEL
    + '","system_fingerprint":null,'
)
_CHOICE = {"text": " Paris.", "index": 0, "finish_reason": "stop", "logprobs": None}


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """One POST route of `/api`. `response` is None for a stream, `example` then its transcript.

    `transcript`: of a route that answers in events where it is asked to.
    """

    path: str
    operation_id: str
    summary: str
    request: str
    request_example: dict[str, Any]
    response: str | None
    example: Any
    transcript: str = ""


OPERATIONS = (
    ApiOperation(
        "/api/generate",
        "apiGenerate",
        "Answers a prompt as an instruction",
        "ApiGenerateRequest",
        _PROMPT_EXAMPLE,
        "ApiTextResponse",
        _TEXT_EXAMPLE,
    ),
    ApiOperation(
        "/api/generate/stream",
        "apiGenerateStream",
        "Streams the answer to a prompt as an instruction",
        "ApiGenerateRequest",
        _PROMPT_EXAMPLE,
        None,
        'data: {"text":"The capital of France"}\n\n'
        'data: {"text":" is Paris."}\n\n'
        'data: {"done":true,"finish_reason":"eos","tokens_generated":8,"model":"'
        + MODEL
        + '"}\n\n',
    ),
    ApiOperation(
        "/api/chat",
        "apiChat",
        "Answers a conversation",
        "ApiChatRequest",
        _CHAT_EXAMPLE,
        "ApiChatResponse",
        {
            "message": {"role": "assistant", "content": _ANSWER},
            "model": MODEL,
            "tokens_generated": 8,
            "finish_reason": "eos",
        },
    ),
    ApiOperation(
        "/api/chat/stream",
        "apiChatStream",
        "Streams the answer to a conversation",
        "ApiChatRequest",
        _CHAT_EXAMPLE,
        None,
        'data: {"content":"The capital of France"}\n\n'
        'data: {"content":" is Paris."}\n\n'
        'data: {"done":true,"finish_reason":"eos","tokens_generated":8,"model":"'
        + MODEL
        + '"}\n\n',
    ),
    ApiOperation(
        "/api/completions",
        "apiCompletions",
        "Continues a text, or fills the gap before a suffix",
        "ApiCompletionsRequest",
        _CONTINUE_EXAMPLE,
        "ApiCompletionsResponse",
        {
            **_TEXT_EXAMPLE,
            "text": " Paris.",
            "id": "cmpl-4e3f",
            "object": "text_completion",
            "created": 1767225600,
            "system_fingerprint": None,
            "choices": [_CHOICE],
            "usage": {"prompt_tokens": 5, "completion_tokens": 8, "total_tokens": 13},
        },
        _CHUNK
        + '"choices":[{"text":" Paris.","index":0,"finish_reason":null,"logprobs":null}]}\n\n'
        + _CHUNK
        + '"choices":[{"text":"","index":0,"finish_reason":"stop","logprobs":null}]}\n\n'
        + "data: [DONE]\n\n",
    ),
    ApiOperation(
        "/api/completions/stream",
        "apiCompletionsStream",
        "Streams the continuation of a text",
        "ApiCompletionsRequest",
        _CONTINUE_EXAMPLE,
        None,
        'data: {"text":" Paris.","choices":[{"text":" Paris.","index":0,'
        '"finish_reason":null,"logprobs":null}]}\n\n'
        'data: {"done":true,"finish_reason":"eos","tokens_generated":3,"model":"' + MODEL + '",'
        '"choices":[{"text":"","index":0,"finish_reason":"stop","logprobs":null}]}\n\n',
    ),
)
