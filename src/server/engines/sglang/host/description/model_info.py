"""What the host tells about the model it has loaded, and what SGLang counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .....contract.engine import Capabilities, ModelInfo
from .....files.formats.safetensors_file import MalformedSafetensors, read_tensor_shapes
from ....answers.chat_features import ChatFeatures
from ...isq.outcome import METHOD_NAMES
from ...messages import Begin
from ..internals import VERSION, resolved_argument
from .constraints import constraint_kinds
from .kv_pool import kv_pool_bytes
from .token_bytes import max_token_bytes


def count_parameters(files: Iterable[Path]) -> int:
    """Adds up the sizes of all tensors of safetensors files; 0 where there are none.

    0, too, where a file cannot be read: the model runs all the same.
    """
    try:
        return sum(
            math.prod(shape) for file in files for shape in read_tensor_shapes(file).values()
        )
    except MalformedSafetensors:
        return 0


def _quantization(server_args: Any, hf_config: Any, begin: Begin) -> str:
    """Names what the weights are quantised with, in the checkpoint or while they were loaded."""
    named = resolved_argument(server_args, "quantization")
    if named in METHOD_NAMES.values():
        return f"{begin.weight_quantization} (weight-only)"
    if named:
        return str(named)
    config: Any = getattr(hf_config, "quantization_config", None)
    if config is None:
        return begin.weight_quantization
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    return str(config.get("quant_method") or "")


def count_pool_tokens(engine: Any) -> int:  # SGLang has no types
    """Reads the size of the KV pool of a running engine, of one copy of the model."""
    return int(engine._scheduler_init_result.scheduler_infos[0]["max_total_num_tokens"])


def count_step_tokens(server_args: Any) -> int:
    """Finds the most prompt tokens that one step computes; 0 where SGLang does not tell."""
    for name in ("chunked_prefill_size", "max_prefill_tokens"):
        size = resolved_argument(server_args, name)
        if size and int(size) > 0:  # -1: prompts are not divided
            return int(size)
    return 0


def describe_model(  # SGLang has no types
    engine: Any,
    loads: Sequence[Any],
    begin: Begin,
    *,
    has_chat: bool,
    has_fim: bool,
    features: ChatFeatures,
    can_see: bool,
) -> ModelInfo:
    """Reads the facts from a running engine.

    `loads` are the load snapshots of its schedulers, one for each copy of the model.
    """
    manager = engine.tokenizer_manager
    config = manager.model_config
    scheduler = engine._scheduler_init_result.scheduler_infos[0]
    page_size = int(resolved_argument(manager.server_args, "page_size") or 1)
    kv_cache_dtype = str(resolved_argument(manager.server_args, "kv_cache_dtype"))
    if kv_cache_dtype == "auto":
        kv_cache_dtype = str(config.dtype).removeprefix("torch.")
    is_fp8 = kv_cache_dtype.startswith("fp8")
    return ModelInfo(
        engine=f"sglang {VERSION}",
        device="cpu" if begin.on_cpu else "cuda",
        num_parameters=count_parameters(Path(manager.model_path).glob("*.safetensors")),
        format=begin.model_format,
        quantization=_quantization(manager.server_args, config.hf_config, begin),
        kv_cache_dtype=kv_cache_dtype,
        # Not the model's own length: SGLang refuses prompts a few tokens short of it, and a
        # request that fills the whole pool, to the last page, is never scheduled.
        context_length=min(
            int(scheduler["max_req_input_len"]),
            count_pool_tokens(engine) - 2 * page_size,
        ),
        vocab_size=int(config.vocab_size),
        max_running=sum(int(load.max_running_requests) for load in loads),
        capabilities=Capabilities(
            chat=has_chat,
            fill_in_the_middle=has_fim,
            # Without deterministic inference SGLang ignores a seed without a word.
            seeds=bool(resolved_argument(manager.server_args, "enable_deterministic_inference")),
            token_ids=True,
            min_tokens=True,
            stop_token_ids=True,
            logprobs=True,
            prompt_logprobs=True,
            tools=bool(features.tool_parser),
            reasoning=bool(features.reasoning_parser),
            reasoning_switch=bool(features.switch),
            constraints=constraint_kinds(manager.tokenizer),
            images=can_see,
        ),
        tool_parser=features.tool_parser,
        reasoning_parser=features.reasoning_parser,
        max_token_bytes=max_token_bytes(manager.tokenizer),
        has_kv_cache_scales=begin.has_kv_cache_scales if is_fp8 else None,
        lora_adapters=begin.lora_adapters,
        gpu_ids=begin.gpu_ids,
        kv_pool_bytes=kv_pool_bytes(loads),
    )


def read_series() -> str:
    """Returns SGLang's own series as Prometheus text, summed up over its processes. Blocks."""
    # Here, and not at the top: the library decides when it is imported whether numbers go into
    # files, and SGLang sets the folder for them when it starts.
    from prometheus_client import CollectorRegistry, generate_latest, multiprocess  # noqa: PLC0415

    registry = CollectorRegistry()
    collect: Any = multiprocess.MultiProcessCollector  # it has no types
    collect(registry)
    return generate_latest(registry).decode()
