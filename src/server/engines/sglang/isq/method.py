"""Weight-only int8 and int4 as methods of SGLang's own quantisation interface, for a CPU.

Untyped where SGLang is concerned: it has no types. Imported in SGLang's processes alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from .outcome import METHOD_NAMES, OUTCOME_KEY, IsqOutcome
from .quantized_linear import Int4Weight, Int8Weight, PackedWeight, Workspace

torch: Any = import_module("torch")
base: Any = import_module("sglang.srt.layers.quantization.base_config")
quantization: Any = import_module("sglang.srt.layers.quantization")
unquant: Any = import_module("sglang.srt.layers.quantization.unquant")

SCHEDULER_MODULE: Final = "sglang.srt.managers.scheduler"

READ_RAW: Final = ("kv_b_proj",)
"""Layers whose weights multi-head latent attention takes apart by itself (`deepseek_v2.py`)."""

Pack = Callable[[Any], PackedWeight]


class PackedMethod(base.LinearMethodBase):  # type: ignore[misc]  # SGLang has no types
    """Loads the weights of a layer as they are, and packs them as soon as all of them are there."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack

    def create_weights(  # noqa: PLR0917 - SGLang's signature
        self,
        layer: Any,
        input_size_per_partition: int,
        output_partition_sizes: list[int],
        input_size: int,
        output_size: int,
        params_dtype: Any,
        **attributes: Any,
    ) -> None:
        """Makes the weights of `layer`. No memory is touched before they are loaded."""
        is_whole = (
            input_size_per_partition == input_size and sum(output_partition_sizes) == output_size
        )
        load = attributes.get("weight_loader")
        if load is not None and is_whole:
            attributes["weight_loader"] = self._load_and_pack(load)
        unquant.UnquantizedLinearMethod().create_weights(
            layer,
            input_size_per_partition,
            output_partition_sizes,
            input_size,
            output_size,
            params_dtype,
            **attributes,
        )

    def _load_and_pack(self, load: Callable[..., Any]) -> Callable[..., Any]:
        """Counts what `load` puts into a parameter, to pack it with its last part.

        Otherwise all layers would be in memory unpacked, before the first one is packed.
        """
        num_loaded = 0

        def load_and_pack(parameter: Any, loaded_weight: Any, *rest: Any, **named: Any) -> Any:
            nonlocal num_loaded
            result = load(parameter, loaded_weight, *rest, **named)
            num_loaded += loaded_weight.numel()
            if num_loaded >= parameter.numel():
                self._pack_parameter(parameter)
            return result

        return load_and_pack

    def _pack_parameter(self, parameter: Any) -> None:
        packed = self._pack(parameter.data)
        parameter.num_bytes_before = parameter.data.nbytes
        # In place: the loader of the model, and a tied output layer, hold the parameter itself.
        parameter.data = packed.tensor
        parameter.packed = packed

    def process_weights_after_loading(self, layer: Any) -> None:
        """Packs what was not seen to be complete: padded vocabularies."""
        if not hasattr(layer.weight, "packed"):
            self._pack_parameter(layer.weight)

    def apply(self, layer: Any, x: Any, bias: Any = None) -> Any:
        """Computes `x @ weights.T + bias`; x: [..., num_inputs]."""
        out = layer.weight.packed.multiply(x.reshape(-1, x.shape[-1]))
        if bias is not None:
            out += bias
        return out.view(*x.shape[:-1], -1)

    def embedding(self, layer: Any, token_ids: Any) -> Any:
        """Looks the rows of tokens up."""
        return layer.weight.packed.rows(token_ids)


class _PackedConfig(base.QuantizationConfig):  # type: ignore[misc]  # SGLang has no types
    """What SGLang asks which method each layer of a model gets."""

    name = ""

    def __init__(self) -> None:
        base.QuantizationConfig.__init__(self)  # through `super` it has no type
        self._workspace = Workspace()

    def pack_linear(self, weight: Any) -> PackedWeight:
        """Packs the weights of a layer inside the model."""
        return self.pack_embedding(weight)

    def pack_embedding(self, weight: Any) -> PackedWeight:
        """Packs an embedding, or the output layer: in 8 bits, as they cost most in 4."""
        return Int8Weight.pack(weight, self._workspace)

    def get_quant_method(self, layer: Any, prefix: str) -> Any:
        """Returns the method of a layer; None leaves it to SGLang, as it does mixtures of experts.

        With Intel AMX SGLang packs an output layer itself, whatever it is told.
        """
        linear = import_module("sglang.srt.layers.linear")
        embedding = import_module("sglang.srt.layers.vocab_parallel_embedding")
        if isinstance(layer, linear.LinearBase):
            if prefix.rpartition(".")[2] in READ_RAW:
                return unquant.UnquantizedLinearMethod()
            return PackedMethod(self.pack_linear)
        if isinstance(layer, embedding.VocabParallelEmbedding) and not (
            isinstance(layer, embedding.ParallelLMHead) and unquant.cpu_has_amx_support()
        ):
            return PackedMethod(self.pack_embedding)
        return None

    def get_name(self) -> str:
        """Names the method as SGLang's argument `quantization` does."""
        return self.name

    def get_supported_act_dtypes(self) -> list[Any]:
        """Lists the dtypes that a model may compute in."""
        return [torch.float32, torch.bfloat16, torch.float16]

    @classmethod
    def get_min_capability(cls) -> int:
        """Returns what a GPU would have to have; there is none."""
        return 0

    @staticmethod
    def get_config_filenames() -> list[str]:
        """Returns no name: a checkpoint tells nothing of this."""
        return []

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:  # noqa: ARG003 - SGLang's signature
        """Makes one; nothing is configured."""
        return cls()

    def get_scaled_act_names(self) -> list[str]:
        """Returns no name: activations are not scaled."""
        return []


class Int8Config(_PackedConfig):
    """All weights in 8 bits."""

    name = METHOD_NAMES["int8"]


class Int4Config(_PackedConfig):
    """Weights in 4 bits; in 8 bits where torch's kernel does not take the layer's size."""

    name = METHOD_NAMES["int4"]

    def pack_linear(self, weight: Any) -> PackedWeight:
        """Packs the weights of a layer inside the model."""
        return (
            Int4Weight.pack(weight)
            if Int4Weight.fits(*weight.shape)
            else super().pack_linear(weight)
        )


def offer() -> None:
    """Adds the methods to those that SGLang knows, and lets its scheduler tell the outcome."""
    for config in (Int8Config, Int4Config):
        quantization.QUANTIZATION_METHODS[config.name] = config
        quantization.CPU_QUANTIZATION_METHODS[config.name] = config
    # Not where it would have to be imported for this alone, as in the detokenizer.
    if SCHEDULER_MODULE in sys.modules:
        hooks = import_module("sglang.srt.plugins.hook_registry")
        hooks.HookRegistry.register(
            f"{SCHEDULER_MODULE}.Scheduler.get_init_info", _add_outcome, hooks.HookType.AFTER
        )


def _add_outcome(info: dict[str, Any], scheduler: Any) -> dict[str, Any]:
    outcome = count(scheduler.tp_worker.model_runner.model)
    return info | {OUTCOME_KEY: outcome.as_dict()}


def count(model: Any) -> IsqOutcome:
    """Counts what is packed in a loaded model. A tied output layer is its embedding's."""
    packed: dict[int, Any] = {}
    num_left = 0
    for module in model.modules():
        method = getattr(module, "quant_method", None)
        if isinstance(method, PackedMethod):
            packed[id(module.weight)] = module.weight
        elif method is not None and next(module.parameters(recurse=False), None) is not None:
            num_left += 1
    weights = packed.values()
    return IsqOutcome(
        num_layers=len(weights),
        num_left=num_left,
        bytes_before=sum(weight.num_bytes_before for weight in weights),
        bytes_after=sum(weight.packed.num_bytes for weight in weights),
    )
