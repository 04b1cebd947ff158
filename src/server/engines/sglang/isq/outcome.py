"""What in-situ quantisation came to, as the scheduler tells the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

OUTCOME_KEY: Final = "tokenwire_isq"
"""Where it stands in what a scheduler of SGLang says when it is ready."""

METHOD_NAMES: Final = {"int8": "tokenwire_int8", "int4": "tokenwire_int4"}
"""What SGLang calls our methods, by the values of `WeightQuantization`."""


class IsqFailed(Exception):
    """The weights were to be quantised and are not. For the operator."""


@dataclass(frozen=True, slots=True)
class IsqOutcome:
    """What was packed. `num_left` layers stay as they are: mixtures of experts, and the like.

    `bytes_before` and `bytes_after` are those of the packed layers, without and with packing.
    """

    num_layers: int
    num_left: int
    bytes_before: int
    bytes_after: int

    @classmethod
    def read(cls, scheduler_info: Mapping[str, Any], quantization: str) -> Self:
        """Takes it from what a scheduler said when it was ready.

        Raises:
            IsqFailed: it says nothing of quantisation, or that nothing was quantised.
        """
        reported = scheduler_info.get(OUTCOME_KEY)
        if reported is None:
            raise IsqFailed(
                f"the weights were to be quantised to {quantization}, but the scheduler of SGLang "
                "did not load the plugin that does it; install this package anew"
            )
        outcome = cls(**reported)
        if outcome.num_layers == 0:
            raise IsqFailed(
                f"the weights were to be quantised to {quantization}, and nothing was: the model "
                "has no layer that could be, or LLM_SGLANG_ARGS names another quantisation; unset "
                "LLM_ENABLE_ISQ"
            )
        return outcome

    def as_dict(self) -> dict[str, int]:
        """Spells it for a pipe."""
        return asdict(self)

    def sentence(self, quantization: str) -> str:
        """Tells it to the operator."""
        left = f"; left as they are: {self.num_left}" if self.num_left else ""
        return (
            f"{self.num_layers} layers quantised to {quantization}: {self.bytes_before >> 20} MiB "
            f"became {self.bytes_after >> 20} MiB{left}"
        )
