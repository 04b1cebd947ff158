"""What schemathesis is told beside the document, in whose environment this runs.

First, what the server of the tests has, which no schema can know: its model, room for so many
tokens, no LoRA adapter. Then what readers of canonical JSON take beside what the document asks
for, so that it is no surprise when it is taken.
"""

from __future__ import annotations

import os
from typing import Any

import schemathesis

Schema = dict[str, Any]

_NULL: Schema = {"type": "null"}
_MAX_TOKENS = int(os.environ["TOKENWIRE_MAX_TOKENS"])
_TOKENS: Schema = {"type": "integer", "minimum": 0, "maximum": _MAX_TOKENS}
_DURATION: Schema = {"enum": ["30s"]}
_OF_OPENAI: dict[str, Schema] = {
    "max_tokens": {"anyOf": [_TOKENS, _NULL]},
    "max_completion_tokens": {"anyOf": [_TOKENS, _NULL]},
}
_OF_CALLS: dict[str, Schema] = {"maxQueueWait": _DURATION, "timeLimit": _DURATION}
_NARROWED: dict[str, dict[str, Schema]] = {
    "OpenAIChatRequest": _OF_OPENAI,
    "OpenAICompletionsRequest": {**_OF_OPENAI, "prompt": {"type": "string", "minLength": 1}},
    "OpenAIMessage": {
        "role": {"enum": ["system", "developer", "user"]},
        "content": {"type": "string"},
    },
    "GenerateRequest": _OF_CALLS,
    "ChatRequest": _OF_CALLS,
    "TokenizeRequest": {"maxQueueWait": _DURATION},
    "DetokenizeRequest": {
        "maxQueueWait": _DURATION,
        "tokenIds": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}},
    },
    "Message": {"role": {"type": "string", "enum": ["ROLE_SYSTEM", "ROLE_USER"]}},
    "ContentPart": {"image": False},
}
_OF_EACH_OTHER = {"max_completion_tokens", "min_tokens", "stream_options", "suffix"}
_NEEDS_MORE = {"loraAdapter", "constraint", "detachTimeout", "resume"}
_NEEDS_MORE_OF_OPENAI = {
    *("lora_path", "structured_outputs", "regex", "ebnf", "response_format", "suffix", "best_of"),
    *("tools", "tool_choice", "top_logprobs", "chat_template_kwargs", "include_reasoning"),
    *("continue_final_message", "add_generation_prompt", "reasoning_effort", "min_tokens"),
    *("stream_options", "echo"),
}
# What needs something that is not there, or fits together with some other value only.
_DROPPED: dict[str, set[str]] = {
    "ApiGenerateRequest": _OF_EACH_OTHER,
    "ApiChatRequest": _OF_EACH_OTHER,
    "ApiCompletionsRequest": _OF_EACH_OTHER,
    "OpenAIChatRequest": {"max_tokens", *_NEEDS_MORE_OF_OPENAI},
    "OpenAICompletionsRequest": {"max_completion_tokens", *_NEEDS_MORE_OF_OPENAI},
    "OpenAIMessage": {"tool_calls", "tool_call_id"},
    "GenerateRequest": {"suffix", "asInstruction", *_NEEDS_MORE},
    "ChatRequest": {
        *_NEEDS_MORE,
        *("continueLastMessage", "tools", "toolChoice", "reasoning", "templateArguments"),
    },
    "Message": {"toolCalls", "toolCallId"},
    "Sampling": {"clamp", "minTokens", "maxTokens"},
}
# Refuse what they do not know, unless it asks for nothing.
_CLOSED = {"OpenAIChatRequest", "OpenAICompletionsRequest"}


@schemathesis.hook
def before_load_schema(_context: Any, document: dict[str, Any]) -> None:
    """Fits the document to the server of the tests."""
    components = document["components"]
    # A deadline that passes is a 504, as it should be.
    components["parameters"]["Timeout"]["schema"] = {"enum": ["30S", "1M"]}
    for name, schema in components["schemas"].items():
        properties = schema.get("properties", {})
        properties.update(_NARROWED.get(name, {}))
        for key in _DROPPED.get(name, ()):
            properties.pop(key, None)
        if name.endswith("Request") and "model" in properties:
            properties["model"] = {"enum": [os.environ["TOKENWIRE_MODEL"]]}
        if name in _CLOSED:
            schema["additionalProperties"] = False
        elif schema.get("additionalProperties") is False:
            _tolerate(schema)
    components["schemas"]["OpenAIMessage"]["required"] = ["role", "content"]


def _tolerate(schema: Schema) -> None:
    """Lets a field be null, which counts as absent then, and an enum be the number of its name."""
    for choice in schema.get("allOf", ()):
        for alternative in choice["oneOf"]:
            _demand_values(alternative)
            for each in alternative.get("not", {}).get("anyOf", ()):
                _demand_values(each)
    for name, value in schema["properties"].items():
        if value is False:
            continue
        names = value.get("enum", ())
        tolerated = value
        if names and value.get("type") == "string":
            first = 0 if names[0].endswith("_UNSPECIFIED") else 1
            tolerated = {"enum": [*names, *range(first, first + len(names))]}
        if name not in schema.get("required", ()):
            tolerated = {"anyOf": [tolerated, _NULL]}
        schema["properties"][name] = tolerated


def _demand_values(alternative: Schema) -> None:
    if "required" in alternative:
        names = alternative["required"]
        alternative["properties"] = {name: {"not": _NULL} for name in names}
