"""Requests from protos to the domain, events from the domain to protos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict

from ...generated.tokenwire.v1 import chat_pb2, events_pb2, inference_pb2, models_pb2
from ..contract.engine import (
    ChatMessage,
    ChatPrompt,
    Delta,
    FinishReason,
    InfillPrompt,
    ModelInfo,
    Prefill,
    Prompt,
    Role,
    TextPrompt,
    TokenPrompt,
)
from ..contract.errors import InvalidRequest
from ..contract.template_arguments import RESERVED_TEMPLATE_ARGUMENTS
from ..models.model_state import ModelView, State
from ..request.calls import (
    Call,
    CallFinished,
    CallStarted,
    Decoding,
    Loading,
    ProgressEvent,
    Queued,
    SamplingRequest,
)

INSTRUCTION_SYSTEM_LINE: Final = "You are a helpful assistant."

_ROLES = {
    chat_pb2.ROLE_SYSTEM: Role.SYSTEM,
    chat_pb2.ROLE_USER: Role.USER,
    chat_pb2.ROLE_ASSISTANT: Role.ASSISTANT,
}
_FINISH_REASONS = {
    FinishReason.STOP: events_pb2.FINISH_REASON_STOP,
    FinishReason.EOS: events_pb2.FINISH_REASON_EOS,
    FinishReason.LENGTH: events_pb2.FINISH_REASON_LENGTH,
    FinishReason.TIME_LIMIT: events_pb2.FINISH_REASON_TIME_LIMIT,
}
_STATES = {
    State.UNLOADED: models_pb2.MODEL_STATE_UNLOADED,
    State.LOADING: models_pb2.MODEL_STATE_LOADING,
    State.SERVING: models_pb2.MODEL_STATE_SERVING,
    State.FAILED: models_pb2.MODEL_STATE_FAILED,
}

Request = inference_pb2.GenerateRequest | inference_pb2.ChatRequest


def decode_generate(request: inference_pb2.GenerateRequest, request_id: str) -> Call:
    """Turns a valid GenerateRequest into a call."""
    prompt: Prompt
    fallback: Prompt | None = None
    field = "text"
    if request.WhichOneof("prompt") == "token_ids":
        prompt = TokenPrompt(tuple(request.token_ids.ids))
        field = "token_ids"
    elif request.HasField("suffix"):
        prompt = InfillPrompt(request.text, request.suffix)
    elif request.as_instruction:
        system = ChatMessage(Role.SYSTEM, INSTRUCTION_SYSTEM_LINE)
        prompt = ChatPrompt((system, ChatMessage(Role.USER, request.text)))
        fallback = TextPrompt(request.text)
    else:
        prompt = TextPrompt(request.text)
    return _decode(request, request_id, prompt, field, fallback)


def decode_chat(request: inference_pb2.ChatRequest, request_id: str) -> Call:
    """Turns a valid ChatRequest into a call.

    Raises:
        InvalidRequest: a template argument is a number that JSON does not have, or has a reserved
            name.
    """
    messages = tuple(
        ChatMessage(_ROLES[message.role], "".join(part.text for part in message.content))
        for message in request.messages
    )
    for name in request.template_arguments.values.fields:
        if name in RESERVED_TEMPLATE_ARGUMENTS:
            raise InvalidRequest("template_arguments", f"'{name}' is set by the server alone")
    try:
        arguments = MessageToDict(request.template_arguments.values)
    except ValueError as error:
        raise InvalidRequest("template_arguments", "holds a number that is not finite") from error
    return _decode(request, request_id, ChatPrompt(messages, arguments), "messages", None)


def _decode(
    request: Request, request_id: str, prompt: Prompt, prompt_field: str, fallback: Prompt | None
) -> Call:
    return Call(
        request_id=request_id,
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
    )


def encode_progress(event: ProgressEvent) -> events_pb2.Progress:
    """Turns a step of a request's way into a Progress event."""
    match event:
        case Loading(step, fraction):
            return events_pb2.Progress(
                loading=events_pb2.Progress.Loading(step=step, fraction=fraction)
            )
        case Queued(place, expected_wait_s):
            queued = events_pb2.Progress.Queued(place=place)
            if expected_wait_s is not None:
                queued.expected_wait.CopyFrom(_duration(expected_wait_s))
            return events_pb2.Progress(queued=queued)
        case Prefill(num_processed, num_prompt):
            return events_pb2.Progress(
                prefill=events_pb2.Progress.Prefill(
                    num_processed_tokens=num_processed, num_prompt_tokens=num_prompt
                )
            )
        case Decoding(num_tokens):
            return events_pb2.Progress(
                decode=events_pb2.Progress.Decode(num_completion_tokens=num_tokens)
            )


def encode_started(started: CallStarted) -> events_pb2.Started:
    """Turns the facts of a started request into its event."""
    return events_pb2.Started(
        request_id=started.request_id,
        model=started.model_id,
        model_revision=started.model_revision,
        num_prompt_tokens=started.num_prompt_tokens,
        num_cached_prompt_tokens=started.num_cached_prompt_tokens,
        max_tokens=started.max_tokens,
        seed=started.seed,
    )


def encode_delta(delta: Delta) -> events_pb2.Delta:
    """Turns text of the only choice into a delta."""
    return events_pb2.Delta(
        text=events_pb2.TextDelta(text=delta.text, token_ids=delta.token_ids),
    )


def encode_choice_finished(summary: CallFinished) -> events_pb2.ChoiceFinished:
    """Turns the end of the only choice into its event."""
    finished = events_pb2.ChoiceFinished(finish_reason=_FINISH_REASONS[summary.reason])
    match summary.matched:
        case str(stop):
            finished.stop = stop
        case int(token_id):
            finished.stop_token_id = token_id
        case None:
            pass
    return finished


def encode_finished(summary: CallFinished) -> events_pb2.Finished:
    """Turns the numbers of a request into its last event."""
    timings = events_pb2.Timings(
        queue=_duration(summary.queue_s),
        decode=_duration(summary.decode_s),
        tokens_per_second=summary.tokens_per_second,
    )
    if summary.ttft_s is not None:
        timings.time_to_first_token.CopyFrom(_duration(summary.ttft_s))
    if summary.prefill_s is not None:
        timings.prefill.CopyFrom(_duration(summary.prefill_s))
    return events_pb2.Finished(
        usage=events_pb2.Usage(
            num_prompt_tokens=summary.num_prompt_tokens,
            num_cached_prompt_tokens=summary.num_cached_prompt_tokens,
            num_completion_tokens=summary.num_completion_tokens,
        ),
        timings=timings,
    )


def encode_final(
    started: CallStarted, text: str, token_ids: Sequence[int], summary: CallFinished
) -> events_pb2.Finished:
    """Turns a whole answer into the one message of delivery FINAL."""
    finished = encode_finished(summary)
    finished.started.CopyFrom(encode_started(started))
    finished.choices.append(
        events_pb2.Choice(text=text, finished=encode_choice_finished(summary), token_ids=token_ids)
    )
    return finished


def encode_models(
    views: Iterable[ModelView], max_output_tokens: int
) -> inference_pb2.ListModelsResponse:
    """Turns the state of every model into the answer of ListModels."""
    return inference_pb2.ListModelsResponse(
        models=[_encode_model(view, max_output_tokens) for view in views]
    )


def _encode_model(view: ModelView, max_output_tokens: int) -> models_pb2.Model:
    model = models_pb2.Model(
        id=view.model_id,
        revision=view.revision,
        state=_STATES[view.state],
        max_output_tokens=max_output_tokens,
        failure=view.failure,
        base_model=view.base_model,
    )
    if view.progress is not None:
        model.progress = view.progress.text
        if view.progress.fraction is not None:
            model.progress_fraction = view.progress.fraction
    if view.info is not None:
        _add_info(model, view.info)
    return model


def _add_info(model: models_pb2.Model, info: ModelInfo) -> None:
    model.engine = info.engine
    model.device = info.device
    model.num_parameters = info.num_parameters
    model.format = info.format
    model.quantization = info.quantization
    model.kv_cache_dtype = info.kv_cache_dtype
    if info.has_kv_cache_scales is not None:
        model.has_kv_cache_scales = info.has_kv_cache_scales
    model.context_length = info.context_length
    model.max_output_tokens = min(model.max_output_tokens, info.context_length - 1)
    can = info.capabilities
    model.capabilities.CopyFrom(
        models_pb2.ModelCapabilities(
            chat=can.chat,
            fill_in_the_middle=can.fill_in_the_middle,
            seeds=can.seeds,
            token_ids=can.token_ids,
            min_tokens=can.min_tokens,
            stop_token_ids=can.stop_token_ids,
            lora_adapters=info.lora_adapters,
        )
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(round(seconds * 1e6))
    return duration


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos * 1e-9
