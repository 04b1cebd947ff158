"""What in-situ quantisation becomes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenwire.server.contract.engine_settings import (
    Device,
)
from tokenwire.server.contract.isq_type import IsqType
from tokenwire.server.engines.sglang.isq.outcome import (
    METHOD_NAMES,
)
from tokenwire.server.engines.sglang.plan.checkpoint import Checkpoint
from tokenwire.server.engines.sglang.plan.weight_quantization import (
    BITS,
    WeightQuantization,
    choose_quantization,
)

from .checkpoints import PLAIN


@pytest.mark.parametrize("isq", list(IsqType), ids=lambda isq: isq.value)
def test_every_isq_type_becomes_something(isq: IsqType) -> None:
    """Each type becomes the smallest format that is as precise, and one line says which."""
    small = BITS[isq] <= 4
    for device, has_bitsandbytes, expected in (
        (Device.CPU, False, WeightQuantization.INT4_CPU if small else WeightQuantization.INT8_CPU),
        (Device.CUDA, False, WeightQuantization.FP8),
        (
            Device.CUDA,
            True,
            WeightQuantization.BITSANDBYTES if small else WeightQuantization.FP8,
        ),
    ):
        choice = choose_quantization(isq, device, PLAIN, has_bitsandbytes=has_bitsandbytes)
        assert choice.quantization is expected
        assert f"LLM_ISQ_TYPE={isq.value}" in choice.notice


@pytest.mark.parametrize("device", list(Device))
@pytest.mark.parametrize("quantization", ["gguf", "gptq"])
def test_isq_is_not_for_quantised_weights(device: Device, quantization: str) -> None:
    """What is quantised already is loaded as it is, which is told."""
    checkpoint = replace(PLAIN, quantization=quantization)
    choice = choose_quantization(IsqType.Q4_0, device, checkpoint, has_bitsandbytes=True)
    assert choice.quantization is WeightQuantization.NONE
    assert "not needed" in choice.notice


def test_isq_where_bitsandbytes_does_not_go() -> None:
    """Four bits become eight where SGLang cannot stack the weights, and the reason is told."""
    checkpoint = replace(PLAIN, architecture="DeepseekV2ForCausalLM")
    choice = choose_quantization(IsqType.Q4_K, Device.CUDA, checkpoint, has_bitsandbytes=True)
    assert choice.quantization is WeightQuantization.FP8
    assert "DeepseekV2ForCausalLM" in choice.notice


@pytest.mark.parametrize(
    ("names", "format_name"),
    [
        ("Q8_0 Q8_1 Q8_K Q6_K Q5_0 Q5_1 Q5_K", "int8"),
        ("Q4_0 Q4_1 Q4_K", "int4"),
        ("Q3_K Q2_K", "int4"),
    ],
)
def test_types(names: str, format_name: str) -> None:
    """Each type becomes the smaller format that is as precise; too few bits are told."""
    for name in names.split():
        choice = choose_quantization(
            IsqType(name), Device.CPU, Checkpoint("LlamaForCausalLM"), has_bitsandbytes=False
        )
        assert choice.quantization.value == format_name
        assert choice.quantization.value in METHOD_NAMES
        assert f"LLM_ISQ_TYPE={name} becomes {format_name} weights on a CPU" in choice.notice
        assert ("fewest bits on offer" in choice.notice) is (name in ("Q3_K", "Q2_K"))
