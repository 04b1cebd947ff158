"""Requests from protos to the domain."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tokenwire.generated.tokenwire.v1 import chat_pb2, inference_pb2, sampling_pb2
from tokenwire.server.contract.errors import InvalidRequest
from tokenwire.server.contract.prompts import (
    ChatMessage,
    ChatPrompt,
    InfillPrompt,
    Role,
    TextPrompt,
    TokenPrompt,
)
from tokenwire.server.contract.template_arguments import RESERVED_TEMPLATE_ARGUMENTS
from tokenwire.server.contract.token_ids import TokenIds
from tokenwire.server.request.calls import CallContext
from tokenwire.server.rpc.codecs.request_codec import (
    INSTRUCTION_SYSTEM_LINE,
    decode_chat,
    decode_generate,
)

CONTEXT = CallContext("r", 5.0, "ipv4:127.0.0.1:1", "00-trace")


def generate(**fields: Any) -> inference_pb2.GenerateRequest:
    return inference_pb2.GenerateRequest(model="m", **fields)


def chat(**arguments: Any) -> inference_pb2.ChatRequest:
    """A ChatRequest with these template arguments."""
    parts = [chat_pb2.ContentPart(text="a"), chat_pb2.ContentPart(text="b")]
    request = inference_pb2.ChatRequest(
        model="m", messages=[chat_pb2.Message(role=chat_pb2.ROLE_USER, content=parts)]
    )
    request.template_arguments.values.update(arguments)
    return request


@pytest.mark.parametrize(
    ("request_", "prompt", "field"),
    [
        (generate(text="a"), TextPrompt("a"), "text"),
        (generate(text="a", suffix=""), InfillPrompt("a", ""), "text"),
        (
            generate(token_ids=inference_pb2.TokenIds(ids=[3])),
            TokenPrompt(TokenIds.of((3,))),
            "token_ids",
        ),
    ],
)
def test_prompts(request_: Any, prompt: Any, field: str) -> None:
    """Each kind of prompt is what its fields say, and errors will name the field."""
    call = decode_generate(request_, CONTEXT)
    assert (call.prompt, call.prompt_field) == (prompt, field)
    assert call.prompt_without_template is None


def test_instruction() -> None:
    """An instruction is a chat, and plain text on a model without a template."""
    call = decode_generate(generate(text="a", as_instruction=True), CONTEXT)
    system = ChatMessage(Role.SYSTEM, INSTRUCTION_SYSTEM_LINE)
    assert call.prompt == ChatPrompt((system, ChatMessage(Role.USER, "a")))
    assert call.prompt_without_template == TextPrompt("a")


def test_chat_joins_its_parts_and_keeps_its_arguments() -> None:
    """Neighbouring text parts are one text, and template arguments arrive as JSON values."""
    call = decode_chat(chat(shout="!!", deep={"on": [True, 1.5]}), CONTEXT)
    arguments = {"shout": "!!", "deep": {"on": [True, 1.5]}}
    assert call.prompt == ChatPrompt((ChatMessage(Role.USER, "ab"),), arguments)


def test_chat_goes_on_only_where_asked() -> None:
    """The last message is continued where the request says so."""
    request = chat()
    assert decode_chat(request, CONTEXT).prompt == ChatPrompt((ChatMessage(Role.USER, "ab"),))
    request.continue_last_message = True
    prompt = decode_chat(request, CONTEXT).prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.continue_last_message


@pytest.mark.parametrize("name", sorted(RESERVED_TEMPLATE_ARGUMENTS))
def test_reserved_template_argument_is_refused_by_name(name: str) -> None:
    """No caller replaces the conversation, a token's text or the opening of the turn."""
    with pytest.raises(InvalidRequest, match=f"template_arguments: '{name}'"):
        decode_chat(chat(**{name: "x"}), CONTEXT)


def test_absent_fields_are_none() -> None:
    """What a request does not say is None or zero, and is told apart from a zero that it says."""
    nothing = decode_generate(generate(text="a"), CONTEXT)
    assert (nothing.time_limit_s, nothing.max_queue_wait_s) == (None, None)
    assert (nothing.sampling.temperature, nothing.sampling.seed) == (None, None)
    sampling = sampling_pb2.Sampling(temperature=0, seed=0, max_tokens=0)
    zero = decode_generate(
        generate(text="a", sampling=sampling, max_queue_wait=Duration(), time_limit=Duration()),
        CONTEXT,
    )
    assert (zero.time_limit_s, zero.max_queue_wait_s) == (0, 0)
    assert (zero.sampling.temperature, zero.sampling.seed, zero.sampling.max_tokens) == (0, 0, 0)


def test_call_has_what_came_around_it() -> None:
    """A call carries who asks, until when and how urgently, beside what is asked."""
    call = decode_generate(generate(text="a", priority=3, lora_adapter="b", progress=True), CONTEXT)
    assert call.context is CONTEXT
    assert (call.model_id, call.lora_adapter, call.priority) == ("m", "b", 3)
    assert (call.wants_progress, call.wants_token_ids) == (True, False)
    assert decode_chat(chat(), CONTEXT).context is CONTEXT
