"""Where models stand, from the domain to protos."""

from __future__ import annotations

from collections.abc import Iterable

from ....generated.tokenwire.v1 import inference_pb2, models_pb2
from ...contract.engine import ModelInfo
from ...media.image_limits import ImageLimits
from ...models.model_state import ModelView, State
from .image_codec import encode_image_limits

_STATES = {
    State.UNLOADED: models_pb2.MODEL_STATE_UNLOADED,
    State.LOADING: models_pb2.MODEL_STATE_LOADING,
    State.SERVING: models_pb2.MODEL_STATE_SERVING,
    State.FAILED: models_pb2.MODEL_STATE_FAILED,
}


def encode_models(
    views: Iterable[ModelView], max_output_tokens: int, image_limits: ImageLimits | None = None
) -> inference_pb2.ListModelsResponse:
    """Turns the state of every model into the answer of ListModels."""
    models = [_encode_model(view, max_output_tokens) for view in views]
    for model in models:
        if image_limits is not None and model.capabilities.images:
            model.image_limits.CopyFrom(encode_image_limits(image_limits))
    return inference_pb2.ListModelsResponse(models=models)


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
            logprobs=can.logprobs,
            prompt_logprobs=can.prompt_logprobs,
            lora_adapters=info.lora_adapters,
            tools=can.tools,
            reasoning=can.reasoning,
            reasoning_switch=can.reasoning_switch,
            constraints=can.constraints,
            images=can.images,
        )
    )
    model.tool_parser = info.tool_parser
    model.reasoning_parser = info.reasoning_parser
