"""Requests from protos to the domain."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict

from ....generated.tokenwire.v1 import events_pb2, inference_pb2, sampling_pb2
from ...contract.constraint import Constraint, ConstraintKind
from ...contract.errors import InvalidRequest
from ...contract.prompts import (
    ChatMessage,
    ChatPrompt,
    InfillPrompt,
    Prompt,
    Role,
    TextPrompt,
    TokenPrompt,
)
from ...contract.template_arguments import RESERVED_TEMPLATE_ARGUMENTS
from ...contract.token_ids import TokenIds
from ...media.image_source import ImageSource
from ...request.calls import Call, CallContext, SamplingRequest
from .message_codec import (
    check_continued,
    decode_messages,
    decode_tool_choice,
    decode_tools,
)

INSTRUCTION_SYSTEM_LINE: Final = "You are a helpful assistant."

Request = inference_pb2.GenerateRequest | inference_pb2.ChatRequest


def decode_generate(request: inference_pb2.GenerateRequest, context: CallContext) -> Call:
    """Turns a valid GenerateRequest into a call."""
    prompt: Prompt
    fallback: Prompt | None = None
    field = "text"
    if request.WhichOneof("prompt") == "token_ids":
        prompt = TokenPrompt(TokenIds.of(request.token_ids.ids))
        field = "token_ids"
    elif request.HasField("suffix"):
        prompt = InfillPrompt(request.text, request.suffix)
    elif request.as_instruction:
        system = ChatMessage(Role.SYSTEM, INSTRUCTION_SYSTEM_LINE)
        prompt = ChatPrompt((system, ChatMessage(Role.USER, request.text)))
        fallback = TextPrompt(request.text)
    else:
        prompt = TextPrompt(request.text)
    return _decode(request, context, prompt, field, fallback)


def decode_chat(request: inference_pb2.ChatRequest, context: CallContext) -> Call:
    """Turns a valid ChatRequest into a call.

    Raises:
        InvalidRequest: a template argument is a number that JSON does not have, or has a reserved
            name; calls, results and tools do not go together (`message_codec.py`); or an image is
            empty, or in a message that is not of the user.
    """
    images: list[ImageSource] = []
    for name in request.template_arguments.values.fields:
        if name in RESERVED_TEMPLATE_ARGUMENTS:
            raise InvalidRequest("template_arguments", f"'{name}' is set by the server alone")
    try:
        arguments = MessageToDict(request.template_arguments.values)
    except ValueError as error:
        raise InvalidRequest("template_arguments", "holds a number that is not finite") from error
    reasoning = request.reasoning
    prompt = ChatPrompt(
        decode_messages(request.messages, images),
        arguments,
        decode_tools(request.tools),
        decode_tool_choice(request),
        reasoning.enabled if reasoning.HasField("enabled") else None,
        request.continue_last_message,
    )
    check_continued(prompt)
    call = _decode(request, context, prompt, "messages", None)
    return replace(call, hides_thinking=reasoning.hidden, images=tuple(images))


def _decode(
    request: Request,
    context: CallContext,
    prompt: Prompt,
    prompt_field: str,
    fallback: Prompt | None,
) -> Call:
    return Call(
        context=context,
        model_id=request.model,
        lora_adapter=request.lora_adapter,
        prompt=prompt,
        prompt_field=prompt_field,
        prompt_without_template=fallback,
        sampling=_decode_sampling(request),
        wants_progress=request.progress,
        wants_token_ids=request.return_token_ids,
        cache_salt=request.cache_salt,
        time_limit_s=_seconds(request.time_limit) if request.HasField("time_limit") else None,
        max_queue_wait_s=(
            _seconds(request.max_queue_wait) if request.HasField("max_queue_wait") else None
        ),
        priority=request.priority,
        wants_one_message=request.delivery == events_pb2.DELIVERY_FINAL,
        constraint=_decode_constraint(request.constraint),
    )


def _decode_sampling(request: Request) -> SamplingRequest:
    sampling = request.sampling

    return SamplingRequest(
        temperature=sampling.temperature if sampling.HasField("temperature") else None,
        top_p=sampling.top_p if sampling.HasField("top_p") else None,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=(
            sampling.repetition_penalty if sampling.HasField("repetition_penalty") else None
        ),
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        seed=sampling.seed if sampling.HasField("seed") else None,
        max_tokens=sampling.max_tokens if sampling.HasField("max_tokens") else None,
        min_tokens=sampling.min_tokens,
        stop=tuple(sampling.stop),
        stop_token_ids=tuple(sampling.stop_token_ids),
        logit_bias=dict(sampling.logit_bias),
        ignore_eos=sampling.ignore_eos,
        clamp=sampling.clamp,
        n=sampling.n if sampling.HasField("n") else 1,
        logprobs=sampling.logprobs if sampling.HasField("logprobs") else None,
        prompt_logprobs=(
            sampling.prompt_logprobs if sampling.HasField("prompt_logprobs") else None
        ),
    )


def _decode_constraint(constraint: sampling_pb2.Constraint) -> Constraint | None:
    name = constraint.WhichOneof("kind")
    if name is None:
        return None
    kind = ConstraintKind(name)
    match kind:
        case ConstraintKind.JSON_OBJECT:
            return Constraint(kind)
        case ConstraintKind.CHOICE:
            return Constraint(kind, tuple(constraint.choice.values))
        case ConstraintKind.JSON_SCHEMA | ConstraintKind.REGEX | ConstraintKind.EBNF:
            return Constraint(kind, (getattr(constraint, name),))


def decode_detach_timeout(request: Request) -> float | None:
    """Returns how long a request outlives its call, in seconds; None where it says nothing."""
    return _seconds(request.detach_timeout) if request.HasField("detach_timeout") else None


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos * 1e-9
