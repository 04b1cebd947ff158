"""Every variable about the KV cache: its element type, its size, and who shares it."""

from __future__ import annotations

import enum

from pydantic import field_validator

from ...environment import Settings, setting

# The old service's default. It would be far too small as a pool, so it means "from memory".
CONTEXT_SIZE_FROM_MEMORY = 1024


class KvCacheType(enum.Enum):
    """Element type of the KV cache. F8E4M3 and FP8 are two names of one thing."""

    AUTO = "auto"
    F8E4M3 = "f8e4m3"
    FP8 = "fp8"


class KvCacheSettings(Settings):
    """Element type, size and sharing of the KV cache."""

    paged_attention_block_size: int = setting(
        "LLM_PAGED_ATTENTION_BLOCK_SIZE",
        32,
        ge=1,
        le=1024,
        description="Tokens in one page of the KV cache",
    )
    paged_attention_context_size: int = setting(
        "LLM_PAGED_ATTENTION_CONTEXT_SIZE",
        CONTEXT_SIZE_FROM_MEMORY,
        ge=1,
        le=2**31 - 1,
        description="Tokens of KV cache for each concurrent request; all of it never less than "
        f"one whole context; {CONTEXT_SIZE_FROM_MEMORY}: sized from memory",
    )
    max_model_len: int | None = setting(
        "LLM_MAX_MODEL_LEN",
        None,
        ge=1,
        le=2**31 - 1,
        default_text="auto",
        description="Most tokens of prompt and answer of one request; auto: what the model was "
        "trained for and the memory allows",
        takes="auto or a whole number of at least 1",
    )
    paged_cache_type: KvCacheType = setting(
        "LLM_PAGED_CACHE_TYPE",
        KvCacheType.AUTO,
        description="Element type of the KV cache; auto: the model's own, f8e4m3 or fp8: FP8",
    )
    enable_prefix_caching: bool = setting(
        "LLM_ENABLE_PREFIX_CACHING",
        False,
        description="Keeps the KV cache of prompts for those that begin alike",
    )

    @field_validator("paged_cache_type", mode="before")
    @classmethod
    def _lower_type(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("max_model_len", mode="before")
    @classmethod
    def _auto_is_none(cls, value: object) -> object:
        return None if isinstance(value, str) and value.strip().lower() == "auto" else value

    @property
    def has_fp8_kv_cache(self) -> bool:
        """Whether the KV cache is asked for in FP8."""
        return self.paged_cache_type is not KvCacheType.AUTO
