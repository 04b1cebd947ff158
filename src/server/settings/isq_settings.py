"""Every variable about in-situ quantisation (ISQ)."""

from __future__ import annotations

from pydantic import field_validator

from ...environment import Settings, setting
from ..contract.isq_type import IsqType

_DEFAULT = IsqType.Q8_0


class IsqSettings(Settings):
    """Whether the weights of a model are quantised while it loads, and to what."""

    enable_isq: bool = setting(
        "LLM_ENABLE_ISQ",
        False,
        description="Quantises the weights of a model while it loads (in-situ quantisation)",
    )
    isq_type: IsqType | None = setting(
        "LLM_ISQ_TYPE",
        None,
        description=f"Type of in-situ quantisation; unset: {_DEFAULT.value}",
    )

    @field_validator("isq_type", mode="before")
    @classmethod
    def _upper_type(cls, value: object) -> object:
        return value.strip().upper() if isinstance(value, str) else value

    @property
    def isq(self) -> IsqType | None:
        """The type of in-situ quantisation, where it is asked for."""
        return (self.isq_type or _DEFAULT) if self.enable_isq else None
