"""OpenAI's chats to and from messages: pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format, struct_pb2

from ...generated.tokenwire.v1 import chat_pb2, events_pb2, inference_pb2, sampling_pb2
from ..errors import invalid
from ..fields import MAX_TEMPLATE_LEVELS, Fields, has_too_many_levels
from .constraints import decode_constraint
from .conversation import decode_messages, decode_tool_choice, decode_tools, keep_allowed
from .errors import FieldNames
from .json_codec import (
    AnswerHead,
    completion_usage,
    decode_shared,
    decode_stream_options,
    finish_reason,
    num_choices_of,
)
from .known_fields import CHAT, check_names
from .logprobs import chat_logprobs
from .sampling import decode_sampling

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class ChatAsked:
    """A request of `/v1/chat/completions`.

    `has_one_call`: of the calls in an answer the first one is told, `parallel_tool_calls` false.
    """

    request: inference_pb2.ChatRequest
    names: FieldNames
    is_stream: bool
    includes_usage: bool
    has_one_call: bool

    @property
    def num_choices(self) -> int:
        """How many answers there will be."""
        return num_choices_of(self.request.sampling)

    @property
    def wants_logprobs(self) -> bool:
        """Whether answers have log-probabilities."""
        return self.request.sampling.HasField("logprobs")


def decode_chat(body: dict[str, Any]) -> ChatAsked:
    """Reads the body of `/v1/chat/completions`.

    Raises:
        EdgeError: a field is missing, of the wrong type, not known or not honoured.
    """
    fields = Fields(body)
    check_names(fields, CHAT)
    given: dict[str, str] = {}
    model = fields.string("model")
    messages, strings = decode_messages(fields)
    tools = keep_allowed(fields, decode_tools(fields), given)
    sampling = decode_sampling(fields, given)
    _decode_logprobs(fields, sampling, given)
    is_stream = fields.optional_boolean("stream") or False
    includes_usage = decode_stream_options(fields, is_stream=is_stream)
    request = inference_pb2.ChatRequest(
        model=model,
        messages=messages,
        tools=tools,
        tool_choice=decode_tool_choice(fields, has_tools=bool(tools)),
        sampling=sampling,
        constraint=decode_constraint(fields, given),
        delivery=events_pb2.DELIVERY_DELTAS if is_stream else events_pb2.DELIVERY_FINAL,
        continue_last_message=_decode_continues(fields),
    )
    _decode_thinking(fields, request)
    decode_shared(fields, request)
    return ChatAsked(
        request,
        FieldNames(given, strings),
        is_stream=is_stream,
        includes_usage=includes_usage,
        has_one_call=fields.optional_boolean("parallel_tool_calls") is False,
    )


def encode_chat(
    head: AnswerHead, asked: ChatAsked, finished: events_pb2.Finished
) -> dict[str, Any]:
    """Returns a whole answer."""
    return {
        **head.fields("chat.completion", finished.started),
        "service_tier": "default",
        "choices": [_encode_choice(asked, choice) for choice in finished.choices],
        "usage": chat_usage(finished.usage),
    }


def chat_usage(usage: events_pb2.Usage) -> dict[str, Any]:
    """Returns the tokens of a request, those of thinking among them."""
    return {
        **completion_usage(usage),
        "completion_tokens_details": {"reasoning_tokens": usage.num_reasoning_tokens},
    }


def _encode_choice(asked: ChatAsked, choice: events_pb2.Choice) -> dict[str, Any]:
    calls = choice.tool_calls[:1] if asked.has_one_call else choice.tool_calls
    message: dict[str, Any] = {
        "role": "assistant",
        # Beside calls there is often no text, and clients tell that by null.
        "content": None if calls and not choice.text else choice.text,
        "refusal": None,
        "annotations": [],
    }
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in calls
        ]
    return {
        "index": choice.choice,
        "message": message,
        "logprobs": chat_logprobs(choice.logprobs) if asked.wants_logprobs else None,
        "finish_reason": finish_reason(choice.finished),
    }


def _decode_logprobs(
    fields: Fields, sampling: sampling_pb2.Sampling, given: dict[str, str]
) -> None:
    wants = fields.optional_boolean("logprobs") or False
    num_top = fields.optional_integer("top_logprobs")
    if wants:
        sampling.logprobs = num_top or 0
        given["sampling.logprobs"] = "logprobs" if num_top is None else "top_logprobs"
    elif num_top:
        raise invalid("top_logprobs", "needs logprobs true")


def _decode_continues(fields: Fields) -> bool:
    continues = fields.optional_boolean("continue_final_message") or False
    begins = fields.optional_boolean("add_generation_prompt")
    if continues and begins:
        raise invalid("add_generation_prompt", "must be false beside continue_final_message")
    if begins is False and not continues:
        raise invalid("add_generation_prompt", "false needs continue_final_message true")
    return continues


def _decode_thinking(fields: Fields, request: inference_pb2.ChatRequest) -> None:
    arguments = dict(fields.optional_object("chat_template_kwargs"))
    effort = fields.optional_choice("reasoning_effort", _EFFORTS)
    if effort == "none":
        request.reasoning.enabled = False
    elif effort is not None:
        arguments.setdefault("reasoning_effort", effort)
    if fields.optional_boolean("include_reasoning") is False:
        request.reasoning.hidden = True
    if not arguments:
        return
    if has_too_many_levels(arguments):
        raise invalid("chat_template_kwargs", f"must have at most {MAX_TEMPLATE_LEVELS} levels")
    values = json_format.ParseDict(arguments, struct_pb2.Struct())
    request.template_arguments.CopyFrom(chat_pb2.TemplateArguments(values=values))
