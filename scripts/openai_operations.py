"""Schemas and examples of OpenAI's dialect, `/v1`, for the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from api_operations import MODEL
from field_schemas import Schema
from message_schemas import reference
from tokenwire.edge.openai.known_fields import WITHOUT_EFFECT


@dataclass(frozen=True, slots=True)
class OpenAIOperation:
    """One route of `/v1`. `requests` are its examples by name, none for a GET.

    `transcript` is what the same route streams where it is asked to, empty where it never does.
    """

    verb: str
    path: str
    operation_id: str
    summary: str
    response: str
    example: Any
    request: str = ""
    requests: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    transcript: str = ""


def _null_or(kind: str, description: str, **more: Any) -> Schema:
    return {"type": [kind, "null"], "description": description, **more}


def _number(description: str, low: float, high: float) -> Schema:
    return _null_or("number", description, minimum=low, maximum=high)


def _integer(description: str, **more: Any) -> Schema:
    return _null_or("integer", description, **more)


def _object(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "required": required, "properties": properties}


_STRING: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_DEFAULT = "Absent: the server's default."
_IDS: Schema = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
}
_REASON: Schema = {"enum": ["stop", "length", "tool_calls", None]}

_SAMPLING: dict[str, Schema] = {
    "temperature": _number(f"0 to 2; 0 is greedy. {_DEFAULT}", 0, 2),
    "top_p": _number(f"0 to 1. {_DEFAULT}", 0, 1),
    "top_k": _integer(
        "Keeps the k most likely tokens. Absent, 0 or -1: off.", minimum=-1, maximum=1_000_000
    ),
    "min_p": _number(
        "Keeps tokens at least this likely relative to the likeliest. Absent: off.", 0, 1
    ),
    "repetition_penalty": _number("0.01 to 2; 1 is off.", 0.01, 2),
    "presence_penalty": _number("-2 to 2.", -2, 2),
    "frequency_penalty": _number("-2 to 2.", -2, 2),
    "max_completion_tokens": _integer(
        f"Most tokens to generate, thinking included; counts over `max_tokens`. {_DEFAULT}",
        minimum=0,
    ),
    "max_tokens": _integer("The older name of it.", minimum=0),
    "min_tokens": _integer("Fewest tokens before the model may end.", minimum=0),
    "n": _integer("Number of answers, 1 to 16.", minimum=1, maximum=16),
    "stop": {
        "type": ["array", "string", "null"],
        "items": {**_STRING, "minLength": 1, "maxLength": 256},
        "maxItems": 16,
        "maxLength": 256,
        "description": "Strings that end the answer, at most 16; they never appear in it.",
    },
    "stop_token_ids": {**_IDS, "type": ["array", "null"], "maxItems": 64},
    "seed": _integer(
        "Any 64-bit integer; its lower 32 bits count.", minimum=-(2**63), maximum=2**64 - 1
    ),
    "logit_bias": _null_or(
        "object",
        "Added to the logits of the tokens with these ids, -100 to 100.",
        additionalProperties={"type": "number", "minimum": -100, "maximum": 100},
        propertyNames={"pattern": "^[0-9]{1,9}$"},
        maxProperties=1024,
    ),
    "ignore_eos": _null_or("boolean", "Goes on past the model's own end."),
}
_CONSTRAINTS: dict[str, Schema] = {
    "response_format": _null_or(
        "object",
        "Shape of the answer. A schema is always enforced, with `strict` or without.",
        required=["type"],
        properties={
            "type": {"enum": ["text", "json_object", "json_schema"]},
            "json_schema": _object(["schema"], schema={"type": "object"}, name=_STRING),
        },
    ),
    "structured_outputs": _null_or(
        "object",
        "vLLM's: one of `json`, `json_object`, `regex`, `grammar` and `choice`.",
    ),
    "regex": _null_or("string", "SGLang's: a regular expression for the whole answer."),
    "ebnf": _null_or("string", "SGLang's: a grammar in GBNF for the whole answer."),
}
_SHARED: dict[str, Schema] = {
    "model": {**_STRING, "description": "Id of a model of `/v1/models`."},
    "stream": _null_or("boolean", "Answers in events, ended by `[DONE]`."),
    "stream_options": _null_or(
        "object",
        "For streams alone.",
        properties={"include_usage": {"type": ["boolean", "null"]}},
    ),
    "cache_salt": _null_or(
        "string", "Shares the prefix cache with the same salt alone.", maxLength=256
    ),
    "lora_path": _null_or("string", "Name of a LoRA adapter of the model."),
}
_NOTE = (
    "Beside these there are vLLM's older `guided_json`, `guided_regex`, `guided_grammar`, "
    "`guided_choice`, llama.cpp's `grammar` and `json_schema`. Without effect are "
    f"{', '.join(f'`{name}`' for name in sorted(WITHOUT_EFFECT))}. Any other field is refused by "
    "name, unless it is null or asks for nothing."
)
_USAGE = _object(
    ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"],
    prompt_tokens=_COUNT,
    completion_tokens=_COUNT,
    total_tokens=_COUNT,
    prompt_tokens_details=_object(["cached_tokens"], cached_tokens=_COUNT),
    completion_tokens_details=_object(["reasoning_tokens"], reasoning_tokens=_COUNT),
)
_LOGPROB = _object(
    ["token", "logprob", "bytes"],
    token=_STRING,
    logprob={"type": "number"},
    bytes={"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}},
)
_FUNCTION_NAME = _object(
    ["type", "function"], type={"const": "function"}, function=_object(["name"], name=_STRING)
)

SCHEMAS: dict[str, Schema] = {
    "OpenAIChatRequest": {
        **_object(
            ["model", "messages"],
            **_SHARED,
            messages={
                "type": "array",
                "minItems": 1,
                "maxItems": 1024,
                "items": reference("OpenAIMessage"),
            },
            tools={"type": ["array", "null"], "items": reference("OpenAITool")},
            tool_choice={
                "description": "`none`, `auto`, `required`, the one function to call, or those "
                "that may be called.",
                "oneOf": [
                    {"enum": ["none", "auto", "required", None]},
                    _FUNCTION_NAME,
                    _object(
                        ["type", "allowed_tools"],
                        type={"const": "allowed_tools"},
                        allowed_tools=_object(
                            ["mode", "tools"],
                            mode={"enum": ["auto", "required"]},
                            tools={"type": "array", "minItems": 1, "items": _FUNCTION_NAME},
                        ),
                    ),
                ],
            },
            parallel_tool_calls=_null_or("boolean", "false: the first call of an answer is told."),
            logprobs=_null_or("boolean", "Tells the log-probability of each token."),
            top_logprobs=_integer(
                "Likeliest tokens at each place, 0 to 20; needs `logprobs`.", minimum=0, maximum=20
            ),
            reasoning_effort={
                "enum": ["none", "minimal", "low", "medium", "high", "xhigh", "max", None],
                "description": "`none` turns thinking off; the others go to the chat template.",
            },
            include_reasoning=_null_or("boolean", "false leaves the thinking out of the answer."),
            chat_template_kwargs=_null_or("object", "Values for the chat template."),
            continue_final_message=_null_or(
                "boolean", "Goes on with the last message, which is the assistant's."
            ),
            add_generation_prompt=_null_or("boolean", "false only beside the field above."),
            **_CONSTRAINTS,
            **_SAMPLING,
        ),
        "description": _NOTE,
    },
    "OpenAIMessage": _object(
        ["role"],
        role={"enum": ["system", "developer", "user", "assistant", "tool"]},
        content={
            "description": "Text, or parts of text and images. An assistant's may be null.",
            "oneOf": [
                {"type": ["string", "null"]},
                {
                    "type": "array",
                    "items": reference("OpenAIContentPart"),
                    "minItems": 1,
                    "maxItems": 256,
                },
            ],
        },
        tool_calls={"type": ["array", "null"], "items": reference("OpenAIToolCall")},
        tool_call_id={"type": ["string", "null"], "description": "For role `tool`."},
    ),
    "OpenAIContentPart": {
        "oneOf": [
            _object(["type", "text"], type={"const": "text"}, text=_STRING),
            _object(
                ["type", "image_url"],
                type={"const": "image_url"},
                image_url=_object(
                    ["url"], url={**_STRING, "description": "A `data:` or `https:` address."}
                ),
            ),
            _object(["type", "refusal"], type={"const": "refusal"}, refusal=_STRING),
        ]
    },
    "OpenAITool": _object(
        ["type", "function"],
        type={"const": "function"},
        function=_object(
            ["name"],
            name=_STRING,
            description={"type": ["string", "null"]},
            parameters={"type": ["object", "null"], "description": "A JSON Schema of an object."},
        ),
    ),
    "OpenAIToolCall": _object(
        ["id", "type", "function"],
        id=_STRING,
        type={"const": "function"},
        function=_object(
            ["name", "arguments"],
            name=_STRING,
            arguments={**_STRING, "description": "JSON text of an object."},
        ),
    ),
    "OpenAIChatResponse": _object(
        ["id", "object", "created", "model", "choices", "usage"],
        id=_STRING,
        object={"const": "chat.completion"},
        created={"type": "integer"},
        model=_STRING,
        service_tier={"const": "default"},
        system_fingerprint={"type": ["string", "null"]},
        choices={
            "type": "array",
            "items": _object(
                ["index", "message", "logprobs", "finish_reason"],
                index=_COUNT,
                message=_object(
                    ["role", "content", "refusal"],
                    role={"const": "assistant"},
                    content={"type": ["string", "null"]},
                    refusal={"type": "null"},
                    annotations={"type": "array"},
                    reasoning_content={**_STRING, "description": "Thinking, where there is any."},
                    tool_calls={"type": "array", "items": reference("OpenAIToolCall")},
                ),
                logprobs={
                    "oneOf": [
                        {"type": "null"},
                        _object(
                            ["content", "refusal"],
                            content={
                                "type": "array",
                                "items": {
                                    "allOf": [
                                        _LOGPROB,
                                        _object(
                                            ["top_logprobs"],
                                            top_logprobs={"type": "array", "items": _LOGPROB},
                                        ),
                                    ]
                                },
                            },
                            refusal={"type": "null"},
                        ),
                    ]
                },
                finish_reason=_REASON,
            ),
        },
        usage=reference("OpenAIUsage"),
    ),
    "OpenAICompletionsRequest": {
        **_object(
            ["model", "prompt"],
            **_SHARED,
            prompt={
                "description": "A text, its token ids, or at most 16 of either.",
                "oneOf": [
                    {"type": "string", "minLength": 1},
                    {**_IDS, "minItems": 1},
                    {
                        "type": "array",
                        "items": {"type": "string", "minLength": 1},
                        "minItems": 1,
                        "maxItems": 16,
                    },
                    {"type": "array", "items": _IDS, "minItems": 1, "maxItems": 16},
                ],
            },
            suffix=_null_or("string", "Text behind the gap that the answer fills."),
            echo=_null_or("boolean", "Begins each answer with its prompt."),
            logprobs={
                "description": "Likeliest tokens to tell at each place, 0 to 20; false: none. With "
                "`echo`, those of the prompt as well, whose first token has null.",
                "anyOf": [
                    {"type": "integer", "minimum": 0, "maximum": 20},
                    {"enum": [False, None]},
                ],
            },
            best_of=_integer("Must equal `n`."),
            **_CONSTRAINTS,
            **_SAMPLING,
        ),
        "description": _NOTE,
    },
    "OpenAICompletionsResponse": _object(
        ["id", "object", "created", "model", "choices", "usage"],
        id=_STRING,
        object={"const": "text_completion"},
        created={"type": "integer"},
        model=_STRING,
        system_fingerprint={"type": ["string", "null"]},
        choices={
            "type": "array",
            "items": _object(
                ["text", "index", "finish_reason", "logprobs"],
                text=_STRING,
                index={**_COUNT, "description": "Number of the prompt times `n`, plus the choice."},
                finish_reason=_REASON,
                logprobs={
                    "oneOf": [
                        {"type": "null"},
                        _object(
                            ["tokens", "token_logprobs", "top_logprobs", "text_offset"],
                            tokens={"type": "array", "items": _STRING},
                            token_logprobs={"type": "array", "items": {"type": ["number", "null"]}},
                            top_logprobs={"type": "array", "items": {"type": ["object", "null"]}},
                            text_offset={"type": "array", "items": _COUNT},
                        ),
                    ]
                },
            ),
        },
        usage=reference("OpenAIUsage"),
    ),
    "OpenAIUsage": _USAGE,
    "OpenAIModel": _object(
        ["id", "object", "created", "owned_by"],
        id=_STRING,
        object={"const": "model"},
        created={"type": "integer"},
        owned_by=_STRING,
        root=_STRING,
        parent={"type": ["string", "null"], "description": "Model of a LoRA adapter."},
        max_model_len={"type": ["integer", "null"], "description": "Tokens of its context."},
    ),
    "OpenAIModels": _object(
        ["object", "data"],
        object={"const": "list"},
        data={"type": "array", "items": reference("OpenAIModel")},
    ),
    "OpenAIError": _object(
        ["error"],
        error=_object(
            ["message", "type", "param", "code"],
            message=_STRING,
            type={"enum": ["invalid_request_error", "rate_limit_error", "server_error"]},
            param={"type": ["string", "null"], "description": "Path of the field that is wrong."},
            code={"type": ["string", "null"], "description": "What went wrong, for programs."},
        ),
    ),
}

_MODEL_EXAMPLE = {
    "id": MODEL,
    "object": "model",
    "created": 1767225600,
    "owned_by": "tokenwire",
    "root": MODEL,
    "parent": None,
    "max_model_len": 8192,
}
_QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
_ANSWER = "The capital of France is Paris."
_USAGE_EXAMPLE = {
    "prompt_tokens": 37,
    "completion_tokens": 8,
    "total_tokens": 45,
    "prompt_tokens_details": {"cached_tokens": 0},
}
_CHAT_CHUNK = (
    '{"id":"chatcmpl-4e3f","object":"chat.completion.chunk","created":1767225600,"model":"'
    + MODEL
    + '","system_fingerprint":null,"service_tier":"default","choices":[{"index":0,"delta":'
)
_TEXT_CHUNK = (
    '{"id":"cmpl-4e3f","object":"text_completion","created":1767225600,"model":"'
    + MODEL
    + '","system_fingerprint":null,"choices":[{"text":'
)

OPERATIONS: tuple[OpenAIOperation, ...] = (
    OpenAIOperation(
        "GET",
        "/v1/models",
        "openaiListModels",
        "Lists the models",
        "OpenAIModels",
        {"object": "list", "data": [_MODEL_EXAMPLE]},
    ),
    OpenAIOperation(
        "GET",
        "/v1/models/{id}",
        "openaiGetModel",
        "Describes one model",
        "OpenAIModel",
        _MODEL_EXAMPLE,
    ),
    OpenAIOperation(
        "POST",
        "/v1/chat/completions",
        "openaiChat",
        "Answers a conversation, at once or in events",
        "OpenAIChatResponse",
        {
            "id": "chatcmpl-4e3f",
            "object": "chat.completion",
            "created": 1767225600,
            "model": MODEL,
            "service_tier": "default",
            "system_fingerprint": None,
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": _ANSWER,
                        "refusal": None,
                        "annotations": [],
                    },
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {**_USAGE_EXAMPLE, "completion_tokens_details": {"reasoning_tokens": 0}},
        },
        "OpenAIChatRequest",
        {
            "chat": {"model": MODEL, "messages": _QUESTION, "temperature": 0},
            "stream": {
                "model": MODEL,
                "messages": _QUESTION,
                "stream": True,
                "stream_options": {"include_usage": True},
            },
            "json": {
                "model": MODEL,
                "messages": [{"role": "user", "content": "A city of France, as JSON."}],
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {
                        "name": "city",
                        "strict": True,
                        "schema": {
                            "type": "object",
                            "properties": {"name": {"type": "string", "maxLength": 20}},
                            "required": ["name"],
                            "additionalProperties": False,
                        },
                    },
                },
            },
        },
        "".join(
            f"data: {_CHAT_CHUNK}{piece}}}]}}\n\n"
            for piece in (
                '{"role":"assistant","content":"","refusal":null},"logprobs":null,'
                '"finish_reason":null',
                '{"content":"' + _ANSWER + '"},"logprobs":null,"finish_reason":null',
                '{},"logprobs":null,"finish_reason":"stop"',
            )
        )
        + "data: [DONE]\n\n",
    ),
    OpenAIOperation(
        "POST",
        "/v1/completions",
        "openaiCompletions",
        "Continues texts, at once or in events",
        "OpenAICompletionsResponse",
        {
            "id": "cmpl-4e3f",
            "object": "text_completion",
            "created": 1767225600,
            "model": MODEL,
            "system_fingerprint": None,
            "choices": [{"text": " Paris.", "index": 0, "finish_reason": "stop", "logprobs": None}],
            "usage": _USAGE_EXAMPLE,
        },
        "OpenAICompletionsRequest",
        {
            "text": {"model": MODEL, "prompt": "The capital of France is", "max_tokens": 16},
            "texts": {"model": MODEL, "prompt": ["One, two,", "A, B,"], "max_tokens": 8},
        },
        f'data: {_TEXT_CHUNK}" Paris.","index":0,"finish_reason":null,"logprobs":null}}]}}\n\n'
        f'data: {_TEXT_CHUNK}"","index":0,"finish_reason":"stop","logprobs":null}}]}}\n\n'
        "data: [DONE]\n\n",
    ),
)
