"""JSON of the `/api` dialect to and from messages: pure functions."""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import duration_pb2

from ...generated.tokenwire.v1 import (
    chat_pb2,
    events_pb2,
    inference_pb2,
    models_pb2,
    sampling_pb2,
)
from ...item_limits import max_items_of
from ..body import shown
from ..errors import invalid
from ..fields import Fields, to_float32, without_point
from ..openai.json_codec import AnswerHead, encode_completion
from .content import decode_content
from .refusals import KNOWN, KNOWN_OF_A_MESSAGE, refuse

_NUMBERS = (
    *("temperature", "top_p", "min_p"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
)
_INTEGERS = ("max_tokens", "min_tokens", "top_k")
_ROLES = {
    "system": chat_pb2.ROLE_SYSTEM,
    "user": chat_pb2.ROLE_USER,
    "assistant": chat_pb2.ROLE_ASSISTANT,
}
_MAX_MESSAGES = max_items_of(inference_pb2.ChatRequest.DESCRIPTOR.fields_by_name["messages"])
_SAMPLING = frozenset(
    {*_NUMBERS, *_INTEGERS, "max_completion_tokens", "stop", "seed", "logit_bias"}
)
_SHARED = _SAMPLING | {"model", "stream", "detach_timeout"}
_GENERATE = _SHARED | {"prompt"}
_COMPLETIONS = _GENERATE | {"suffix", "stream_options"}
_CHAT = _SHARED | {"messages"}
_MESSAGE = frozenset({"role", "content"})
# The front has limits of its own; a duration of the proto holds ten thousand years.
_LONGEST_DETACH_S = 1e9
_FINISH_REASONS = {
    events_pb2.FINISH_REASON_STOP: "stop",
    events_pb2.FINISH_REASON_EOS: "eos",
    events_pb2.FINISH_REASON_LENGTH: "length",
    events_pb2.FINISH_REASON_TIME_LIMIT: "length",
    events_pb2.FINISH_REASON_TOOL_CALLS: "stop",
}
_SIZE_IN_ID = re.compile(r"(?<![A-Za-z0-9.])(\d+x)?(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z0-9])")


def decode_generate(body: dict[str, Any], *, is_stream: bool) -> inference_pb2.GenerateRequest:
    """Reads the body of `/api/generate` and its stream: an instruction to answer.

    Raises:
        EdgeError: a field is missing, of the wrong type, or of a feature that is not here.
    """
    fields = Fields(body)
    refuse(fields, KNOWN - _GENERATE)
    _check_stream(fields, is_stream=is_stream, instead="/api/generate/stream")
    request = inference_pb2.GenerateRequest(
        model=fields.string("model"),
        text=fields.string("prompt"),
        as_instruction=True,
        sampling=_decode_sampling(fields),
    )
    _set_delivery(request, fields, is_stream=is_stream)
    return request


def decode_completions(body: dict[str, Any], *, is_stream: bool) -> inference_pb2.GenerateRequest:
    """Reads the body of `/api/completions` and its stream: a text to continue.

    Raises:
        EdgeError: a field is missing, of the wrong type, or of a feature that is not here.
    """
    fields = Fields(body)
    refuse(fields, KNOWN - _COMPLETIONS)
    request = inference_pb2.GenerateRequest(
        model=fields.string("model"),
        text=fields.string("prompt"),
        suffix=fields.optional_string("suffix") or None,  # some clients always send the field
        sampling=_decode_sampling(fields),
    )
    _set_delivery(request, fields, is_stream=is_stream)
    return request


def decode_chat(body: dict[str, Any], *, is_stream: bool) -> inference_pb2.ChatRequest:
    """Reads the body of `/api/chat` and its stream.

    Raises:
        EdgeError: a field is missing, of the wrong type, or of a feature that is not here.
    """
    fields = Fields(body)
    refuse(fields, KNOWN - _CHAT)
    _check_stream(fields, is_stream=is_stream, instead="/api/chat/stream")
    request = inference_pb2.ChatRequest(
        model=fields.string("model"),
        messages=[
            _decode_message(message) for message in fields.objects("messages", _MAX_MESSAGES)
        ],
        sampling=_decode_sampling(fields),
    )
    _set_delivery(request, fields, is_stream=is_stream)
    return request


def encode_model(model: models_pb2.Model) -> dict[str, Any]:
    """Returns one model object of `/api/llms`."""
    base = model.id.split("@", 1)[0]
    lowered = base.lower()
    description = f"LLM model: {model.id}"
    if model.format == "gguf" or lowered.endswith(".gguf"):
        description += " (GGUF quantized)"
    elif model.quantization.startswith("gptq") or "gptq" in lowered:
        description += " (GPTQ quantized)"
    size = _size(model.num_parameters, base)
    capabilities = ["text-generation"]
    if model.capabilities.chat:
        capabilities.append("chat")
    return {
        "id": model.id,
        "name": re.sub("[-_]", " ", base.rsplit("/", 1)[-1]),
        "description": description,
        **({"size": size} if size else {}),
        "capabilities": capabilities,
    }


def encode_text(finished: events_pb2.Finished) -> dict[str, Any]:
    """Returns the body of `/api/generate`."""
    choice = finished.choices[0]
    return {
        "text": choice.text,
        "model": finished.started.model,
        "tokens_generated": finished.usage.num_completion_tokens,
        "finish_reason": finish_reason(choice.finished),
    }


def encode_chat(finished: events_pb2.Finished) -> dict[str, Any]:
    """Returns the body of `/api/chat`."""
    choice = finished.choices[0]
    return {
        "message": {"role": "assistant", "content": choice.text},
        "model": finished.started.model,
        "tokens_generated": finished.usage.num_completion_tokens,
        "finish_reason": finish_reason(choice.finished),
    }


def encode_completions(head: AnswerHead, finished: events_pb2.Finished) -> dict[str, Any]:
    """Returns the body of `/api/completions`, with all that OpenAI's clients look for."""
    return {**encode_text(finished), **encode_completion(head, finished)}


def finish_reason(finished: events_pb2.ChoiceFinished) -> str:
    """Says why an answer ended, in the words of `/api`."""
    return _FINISH_REASONS[finished.finish_reason]


def _set_delivery(
    request: inference_pb2.GenerateRequest | inference_pb2.ChatRequest,
    fields: Fields,
    *,
    is_stream: bool,
) -> None:
    detach_timeout_s = fields.optional_number("detach_timeout")
    if detach_timeout_s is not None:
        nanoseconds = round(max(-1.0, min(detach_timeout_s, _LONGEST_DETACH_S)) * 1e9)
        request.detach_timeout.FromNanoseconds(nanoseconds)
    if not is_stream:
        request.delivery = events_pb2.DELIVERY_FINAL
        return
    request.delivery = events_pb2.DELIVERY_DELTAS
    # A stream route never waits for a turn: zero, which is not the same as unset.
    request.max_queue_wait.CopyFrom(duration_pb2.Duration())


def _decode_sampling(fields: Fields) -> sampling_pb2.Sampling:
    sampling = sampling_pb2.Sampling(clamp=True, stop=fields.optional_strings("stop"))
    for name in _NUMBERS:
        number = fields.optional_number(name)
        if number is not None:
            setattr(sampling, name, number)
    for name in _INTEGERS:
        integer = fields.optional_integer(name)
        if integer is not None:
            setattr(sampling, name, integer)
    max_tokens = fields.optional_integer("max_completion_tokens")
    if max_tokens is not None:
        # OpenAI refuses both at once; callers that always send both mean one number.
        if sampling.HasField("max_tokens") and sampling.max_tokens != max_tokens:
            raise invalid(
                "max_completion_tokens",
                f"must equal max_tokens ({sampling.max_tokens}) where both are set, "
                f"got {max_tokens}",
            )
        if max_tokens < 0:  # the front would name `max_tokens`, which was not sent
            raise invalid(
                "max_completion_tokens", f"must be greater than or equal to 0, got {max_tokens}"
            )
        sampling.max_tokens = max_tokens
    seed = without_point(fields.get("seed"))
    if seed is not None:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise invalid("seed", f"must be an integer from 0 to 4294967295, got {shown(seed)}")
        sampling.seed = seed
    for token, bias in fields.optional_object("logit_bias").items():
        path = f"logit_bias[{token}]"
        if not re.fullmatch(r"[0-9]{1,9}", token):
            raise invalid(path, "must be the id of a token")
        sampling.logit_bias[int(token)] = to_float32(bias, path)
    return sampling


def _decode_message(fields: Fields) -> chat_pb2.Message:
    refuse(fields, KNOWN_OF_A_MESSAGE - _MESSAGE)
    role = fields.string("role")
    if role not in _ROLES:
        known = ", ".join(_ROLES)
        raise invalid(fields.path_of("role"), f"must be one of {known}, got '{role[:100]}'")
    return chat_pb2.Message(role=_ROLES[role], content=decode_content(fields))


def _check_stream(fields: Fields, *, is_stream: bool, instead: str) -> None:
    # A stream route streams either way; the type is checked.
    if fields.optional_boolean("stream") and not is_stream:
        raise invalid("stream", f"is not supported here, which is not Ollama's API: use {instead}")


def _size(num_parameters: int, model_id: str) -> str:
    if num_parameters >= 10**9:
        return f"{num_parameters / 10**9:.1f}".removesuffix(".0") + "B"
    if num_parameters > 0:
        return f"{max(1, round(num_parameters / 10**6))}M"
    match = _SIZE_IN_ID.search(model_id)
    return f"{match[1] or ''}{match[2]}{match[3].upper()}" if match else ""
