"""Fields that are known, and that a route of `/api` does not honour: refused, never ignored."""

from __future__ import annotations

from collections.abc import Mapping, Set

from ...generated.tokenwire.v1 import chat_pb2, inference_pb2, sampling_pb2
from ..body import shown
from ..errors import invalid
from ..fields import Fields

# Left out: `text`, which is `prompt` here.
_OF_GRPC = frozenset(
    field.name
    for message in (
        inference_pb2.GenerateRequest,
        inference_pb2.ChatRequest,
        sampling_pb2.Sampling,
    )
    for field in message.DESCRIPTOR.fields
) - {"text"}
# Left out: what only labels a request, such as `user`, `metadata` and `prompt_cache_key`.
_OF_OPENAI = frozenset(
    {
        *("prompt", "suffix", "stream", "stream_options", "n", "best_of", "echo"),
        *("logprobs", "top_logprobs", "tools", "tool_choice", "parallel_tool_calls"),
        *("functions", "function_call", "response_format", "modalities", "audio", "prediction"),
        *("reasoning_effort", "verbosity", "web_search_options", "service_tier", "store"),
    }
)
_OF_OTHERS = frozenset({"images"})
KNOWN = _OF_GRPC | _OF_OPENAI | _OF_OTHERS
KNOWN_OF_A_MESSAGE = frozenset(
    {
        *(field.name for field in chat_pb2.Message.DESCRIPTOR.fields),
        *("function_call", "audio", "refusal", "images"),
    }
)

# Values that ask for nothing: of every field, and the defaults of some.
_OFF: tuple[object, ...] = (False, "", [], {})
_DEFAULTS: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "top_logprobs": (0,),
    "priority": (0,),
    "clamp": (True,),  # what every route of `/api` does
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "stream_options": ({"include_usage": False},),
    "service_tier": ("auto", "default"),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
}


def refuse(fields: Fields, names: Set[str]) -> None:
    """Refuses these fields, apart from values that ask for nothing.

    Raises:
        EdgeError: names the field.
    """
    for name in sorted(names):
        value = fields.get(name)
        harmless = (*_OFF, *_DEFAULTS.get(name, ()))
        # 0 equals False, and is not the same.
        if value is None or any(value == h and type(value) is type(h) for h in harmless):
            continue
        raise invalid(fields.path_of(name), f"is not supported here, got {shown(value)}")
