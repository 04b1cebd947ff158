"""In-situ quantisation: which of SGLang's own ways a name of llama.cpp's becomes."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ....contract.engine_settings import Device
from ....contract.isq_type import IsqType
from .checkpoint import GGUF_QUANTIZATION, Checkpoint


class WeightQuantization(enum.Enum):
    """What the weights are quantised to while they load."""

    NONE = "none"
    FP8 = "fp8"
    BITSANDBYTES = "bitsandbytes"
    INT8_CPU = "int8"
    INT4_CPU = "int4"


BITS: Final[Mapping[IsqType, int]] = {
    IsqType.Q2_K: 2,
    IsqType.Q3_K: 3,
    IsqType.Q4_0: 4,
    IsqType.Q4_1: 4,
    IsqType.Q4_K: 4,
    IsqType.Q5_0: 5,
    IsqType.Q5_1: 5,
    IsqType.Q5_K: 5,
    IsqType.Q6_K: 6,
    IsqType.Q8_0: 8,
    IsqType.Q8_1: 8,
    IsqType.Q8_K: 8,
}
"""Bits of one weight, without its share of a block's scale."""

MAX_INT4_BITS: Final = 4
"""What is asked for with more bits than this takes 8 of them: there is nothing in between."""

BITSANDBYTES_ARCHITECTURES: Final = frozenset(
    {
        "ApertusForCausalLM",
        "ArceeForCausalLM",
        "Exaone4ForCausalLM",
        "Gemma2ForCausalLM",
        "Gemma3ForCausalLM",
        "Gemma3ForConditionalGeneration",
        "Gemma3nForCausalLM",
        "Gemma3nForConditionalGeneration",
        "InternLM3ForCausalLM",
        "LlamaForCausalLM",
        "MiMoForCausalLM",
        "MistralForCausalLM",
        "MllamaForConditionalGeneration",
        "Qwen2ForCausalLM",
        "Qwen2VLForConditionalGeneration",
        "Qwen2_5_VLForConditionalGeneration",
        "Qwen3ForCausalLM",
        "SolarForCausalLM",
        "TeleFLMForCausalLM",
    }
)
"""Architectures whose class in SGLang says how bitsandbytes is to stack its weights.

Its loader refuses the others (`BitsAndBytesModelLoader._load_weights`). A list, because to ask the
class is not enough: some inherit it from a class whose weights are named in another way, and
mixtures of experts are stacked otherwise.
"""


@dataclass(frozen=True, slots=True)
class QuantizationChoice:
    """What in-situ quantisation becomes, in one sentence for the operator; empty: nothing asked."""

    quantization: WeightQuantization
    notice: str = ""


def choose_quantization(
    isq: IsqType | None, device: Device, checkpoint: Checkpoint, *, has_bitsandbytes: bool
) -> QuantizationChoice:
    """Picks the smallest format on offer that is at least as precise as what is asked for.

    `has_bitsandbytes` says whether the package is installed beside SGLang; it matters on a GPU.
    """
    if isq is None:
        return QuantizationChoice(WeightQuantization.NONE)
    asked = f"LLM_ISQ_TYPE={isq.value}"
    if checkpoint.quantization:
        kind = (
            "a GGUF file"
            if checkpoint.quantization == GGUF_QUANTIZATION
            else f"a checkpoint that is already quantised ({checkpoint.quantization})"
        )
        return QuantizationChoice(
            WeightQuantization.NONE, f"{asked} is not needed for {kind}: it is loaded as it is"
        )
    wants_int4 = BITS[isq] <= MAX_INT4_BITS
    if device is Device.CPU:
        least = ", the fewest bits on offer" if BITS[isq] < MAX_INT4_BITS else ""
        return QuantizationChoice(
            WeightQuantization.INT4_CPU if wants_int4 else WeightQuantization.INT8_CPU,
            f"{asked} becomes {'int4' if wants_int4 else 'int8'} weights on a CPU{least}",
        )
    why_not_int4 = ""
    if wants_int4 and not has_bitsandbytes:
        why_not_int4 = ": the package 'bitsandbytes', which brings 4 bits, is not installed"
    elif wants_int4 and checkpoint.architecture not in BITSANDBYTES_ARCHITECTURES:
        architecture = checkpoint.architecture or "this architecture"
        why_not_int4 = f": SGLang cannot load {architecture} through bitsandbytes"
    elif wants_int4:
        return QuantizationChoice(
            WeightQuantization.BITSANDBYTES,
            f"{asked} becomes 4 bits a weight through bitsandbytes (NF4) on a GPU",
        )
    return QuantizationChoice(
        WeightQuantization.FP8,
        f"{asked} becomes SGLang's online FP8 on a GPU (8 bits a weight){why_not_int4}",
    )
