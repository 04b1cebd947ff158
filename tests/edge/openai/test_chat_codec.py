"""OpenAI's chats, to and from messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format
from tokenwire.edge.errors import EdgeError
from tokenwire.edge.openai.chat_codec import ChatAsked, decode_chat, encode_chat
from tokenwire.edge.openai.json_codec import AnswerHead
from tokenwire.generated.tokenwire.v1.chat_pb2 import Reasoning, ToolChoice
from tokenwire.generated.tokenwire.v1.events_pb2 import (
    DELIVERY_DELTAS,
    DELIVERY_FINAL,
    FINISH_REASON_EOS,
    FINISH_REASON_TOOL_CALLS,
    Choice,
    ChoiceFinished,
    Finished,
    Started,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from tokenwire.generated.tokenwire.v1.inference_pb2 import ChatRequest

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
TOOL = {"type": "function", "function": {"name": "f"}}


def decode(**fields: Any) -> ChatAsked:
    return decode_chat({**BODY, **fields})


def test_the_least_is_a_model_and_messages() -> None:
    """Nothing else is set, so that the server's defaults count."""
    asked = decode()
    assert json_format.MessageToDict(asked.request) == {
        "model": "m",
        "messages": [{"role": "ROLE_USER", "content": [{"text": "Hi"}]}],
        "sampling": {},
        "delivery": "DELIVERY_FINAL",
    }
    assert not asked.is_stream
    assert asked.num_choices == 1


def test_what_reaches_the_front_beside_sampling() -> None:
    """Tools, constraint, thinking, template, salt, adapter, priority and continuation."""
    asked = decode(
        tools=[TOOL],
        tool_choice="auto",
        regex="a",
        reasoning_effort="none",
        include_reasoning=False,
        chat_template_kwargs={"enable_thinking": False, "x": [1, None, {"y": "z"}]},
        cache_salt="s",
        lora_path="l",
        priority=3,
        continue_final_message=True,
        add_generation_prompt=False,
        n=2,
        logprobs=True,
        top_logprobs=4,
        parallel_tool_calls=False,
    )
    request = asked.request
    assert request.tools[0].name == "f"
    assert request.tool_choice.WhichOneof("kind") == "mode"
    assert request.constraint.regex == "a"
    assert request.reasoning == Reasoning(enabled=False, hidden=True)
    arguments = json_format.MessageToDict(request.template_arguments)["values"]
    assert arguments == {"enable_thinking": False, "x": [1, None, {"y": "z"}]}
    assert (request.cache_salt, request.lora_adapter, request.priority) == ("s", "l", 3)
    assert request.continue_last_message
    assert (request.sampling.n, request.sampling.logprobs) == (2, 4)
    assert asked.has_one_call
    assert asked.wants_logprobs
    assert asked.names.name_of("sampling.logprobs") == "top_logprobs"
    assert asked.names.name_of("constraint") == "regex"


def test_a_tool_that_is_allowed_keeps_its_name() -> None:
    """The front gets these alone, and what it says of one names the caller's."""
    tools = [{"type": "function", "function": {"name": name}} for name in "fgh"]
    choice = {"mode": "required", "tools": tools[2:]}
    asked = decode(tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": choice})
    assert [tool.name for tool in asked.request.tools] == ["h"]
    assert asked.request.tool_choice.mode == ToolChoice.MODE_REQUIRED
    assert asked.names.name_of("tools[0].parameters_schema") == "tools[2]"


def test_an_effort_is_a_value_for_the_template() -> None:
    """As vLLM passes it; what the caller gives the template himself counts more."""
    asked = decode(reasoning_effort="low")
    assert json_format.MessageToDict(asked.request.template_arguments) == {
        "values": {"reasoning_effort": "low"}
    }
    own = decode(reasoning_effort="low", chat_template_kwargs={"reasoning_effort": "x"})
    assert own.request.template_arguments.values["reasoning_effort"] == "x"
    assert not decode(reasoning_effort=None).request.HasField("template_arguments")
    assert not asked.request.HasField("reasoning")


@pytest.mark.parametrize(
    ("fields", "is_stream", "includes_usage"),
    [
        ({}, False, False),
        ({"stream": None, "stream_options": None}, False, False),
        ({"stream": False, "stream_options": {"include_usage": False}}, False, False),
        ({"stream": True}, True, False),
        ({"stream": True, "stream_options": {"include_usage": True}}, True, True),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, True, False),
        (
            {
                "stream": True,
                "stream_options": {"include_usage": True, "continuous_usage_stats": True},
            },
            True,
            True,
        ),
        ({"stream_options": {"unknown": None}}, False, False),
    ],
)
def test_streams(fields: dict[str, Any], is_stream: bool, includes_usage: bool) -> None:
    """The delivery follows `stream`; its options may be there and ask for nothing."""
    asked = decode(**fields)
    assert (asked.is_stream, asked.includes_usage) == (is_stream, includes_usage)
    assert asked.request.delivery == (DELIVERY_DELTAS if is_stream else DELIVERY_FINAL)
    assert not asked.request.HasField("max_queue_wait")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": None}, "model: is required and must be a string"),
        ({"messages": None}, "messages: is required and must be an array of objects"),
        ({"stream": "yes"}, "stream: must be true or false, got a string"),
        ({"stream_options": {"include_usage": True}}, "stream_options: is only for stream true"),
        (
            {"stream": True, "stream_options": {"includes_usage": True}},
            "stream_options.includes_usage: is no option of this route",
        ),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage: must be true"),
        ({"logprobs": 5}, "logprobs: must be true or false, got an integer"),
        ({"top_logprobs": 5}, "top_logprobs: needs logprobs true"),
        ({"reasoning_effort": "huge"}, "reasoning_effort: must be one of none, minimal, low,"),
        ({"chat_template_kwargs": []}, "chat_template_kwargs: must be an object, got an array"),
        (
            {"continue_final_message": True, "add_generation_prompt": True},
            "add_generation_prompt: must be false beside continue_final_message",
        ),
        ({"add_generation_prompt": False}, "add_generation_prompt: false needs continue_final_"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls: must be true or false, got a str"),
        ({"priority": "high"}, "priority: must be an integer, got a string"),
        ({"cache_salt": 5}, "cache_salt: must be a string, got an integer"),
        ({"tool_choice": "required"}, "tool_choice: demands a call, and there are no tools"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], error: str) -> None:
    """By the caller's own path."""
    with pytest.raises(EdgeError) as caught:
        decode(**fields)
    assert caught.value.message.startswith(error)


@pytest.mark.parametrize("within", [lambda value: {"a": value}, lambda value: [value]])
def test_a_template_value_at_its_depth_and_deeper(within: Callable[[Any], Any]) -> None:
    """32 objects and arrays in each other are taken, as the front reads them, and no more."""
    deep: Any = {}
    for _ in range(30):
        deep = within(deep)
    read = decode(chat_template_kwargs={"a": deep}).request
    assert ChatRequest.FromString(read.SerializeToString()) == read
    for _ in range(200):
        deep = within(deep)
        with pytest.raises(EdgeError, match="chat_template_kwargs: must have at most 32 levels"):
            decode(chat_template_kwargs={"a": deep})


def finished(*choices: Choice) -> Finished:
    return Finished(
        started=Started(model="m", model_revision="abc"),
        usage=Usage(
            num_prompt_tokens=3,
            num_completion_tokens=2,
            num_cached_prompt_tokens=1,
            num_reasoning_tokens=1,
        ),
        choices=choices,
    )


def end(reason: int = FINISH_REASON_EOS) -> ChoiceFinished:
    return ChoiceFinished(finish_reason=reason)


def test_a_whole_answer() -> None:
    """Every field that OpenAI's clients read, for each choice; thinking beside the text."""
    asked = decode(n=2)
    answer = finished(
        Choice(text="a", reasoning="hm", finished=end()), Choice(choice=1, finished=end())
    )
    assert encode_chat(AnswerHead.of_chat("r1", 7), asked, answer) == {
        "id": "chatcmpl-r1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "service_tier": "default",
        "system_fingerprint": "fp_abc",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "a",
                    "refusal": None,
                    "annotations": [],
                    "reasoning_content": "hm",
                },
                "logprobs": None,
                "finish_reason": "stop",
            },
            {
                "index": 1,
                "message": {
                    "role": "assistant",
                    "content": "",
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            },
        ],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "total_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }


@pytest.mark.parametrize("has_one_call", [False, True])
def test_calls_have_no_text_beside_them(has_one_call: bool) -> None:
    """`content` is null then, and `parallel_tool_calls` false tells the first call alone."""
    calls = [ToolCallDelta(index=i, id=f"c{i}", name="f", arguments="{}") for i in (0, 1)]
    choice = Choice(tool_calls=calls, finished=end(FINISH_REASON_TOOL_CALLS))
    asked = decode(parallel_tool_calls=not has_one_call)
    encoded = encode_chat(AnswerHead.of_chat("r1", 7), asked, finished(choice))["choices"][0]
    assert encoded["finish_reason"] == "tool_calls"
    assert encoded["message"]["content"] is None
    assert encoded["message"]["tool_calls"] == [
        {"id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for i in ([0] if has_one_call else [0, 1])
    ]


def test_logprobs_are_there_where_they_are_asked_for() -> None:
    """Also those of an answer without tokens, as an empty list."""
    token = TokenLogprob(text=b"a", logprob=-1)
    asked = decode(logprobs=True)
    answer = finished(Choice(text="a", logprobs=[token], finished=end()), Choice(finished=end()))
    first, second = encode_chat(AnswerHead.of_chat("r1", 7), asked, answer)["choices"]
    assert [entry["token"] for entry in first["logprobs"]["content"]] == ["a"]
    assert second["logprobs"] == {"content": [], "refusal": None}
