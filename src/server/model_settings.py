"""Every variable about the models: which, where their files are, how their engine runs."""

from __future__ import annotations

import enum
from pathlib import Path

from pydantic import SecretStr, field_validator

from ..environment import HttpAddress, setting
from ..logs import LogSettings
from .model_id import InvalidModelId, ModelId

# The old service's default. It would be far too small as a pool, so it means "from memory".
CONTEXT_SIZE_FROM_MEMORY = 1024
_NO_ISQ = "in-situ quantisation is not in force yet; the model runs as its files are"


class EngineChoice(enum.Enum):
    """Which engine the operator asks for."""

    AUTO = "auto"
    SGLANG = "sglang"
    LLAMACPP = "llamacpp"


class DeviceChoice(enum.Enum):
    """Which device the operator asks for."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class KvCacheType(enum.Enum):
    """Element type of the KV cache. F8E4M3 and FP8 are two names of one thing."""

    AUTO = "auto"
    F8E4M3 = "f8e4m3"
    FP8 = "fp8"


class ModelSettings(LogSettings):
    """The part of the configuration that decides which model runs, and how."""

    allowed_models: tuple[ModelId, ...] = setting(
        "LLM_ALLOWED_MODELS",
        description="Models to serve, separated by commas. The first is served; several at once "
        "are not in force yet",
        takes="model ids separated by commas: owner/repo, owner/repo:file.gguf or "
        "owner/repo:file.gguf@owner/tokenizer-repo",
    )
    engine: EngineChoice = setting(
        "LLM_ENGINE",
        EngineChoice.AUTO,
        description="Engine that runs the model; auto follows its format and the machine",
    )
    device: DeviceChoice = setting(
        "LLM_DEVICE",
        DeviceChoice.AUTO,
        description="Device that the engine computes on; auto takes an NVIDIA GPU where one is",
    )
    num_threads: int | None = setting(
        "LLM_NUM_THREADS",
        None,
        ge=1,
        le=1024,
        description="Threads of an engine on CPU; unset: from the CPUs of this process",
    )
    cuda_visible_devices: str | None = setting(
        "CUDA_VISIBLE_DEVICES",
        None,
        keeps_empty=True,
        description="GPUs that the engine may use; empty: none",
        takes="GPU indices or ids separated by commas",
    )

    model_path: Path | None = setting(
        "LLM_MODEL_PATH",
        None,
        description="Folder that models are looked for in first",
        takes="a folder",
    )
    hf_home: Path | None = setting(
        "HF_HOME",
        None,
        description="Folder of the Hugging Face cache; unset: ~/.cache/huggingface",
        takes="a folder",
    )
    hf_endpoint: HttpAddress | None = setting(
        "HF_ENDPOINT",
        None,
        description="Address of the hub or of a mirror; unset: the public hub",
        takes="an http or https address",
    )
    hf_token: SecretStr | None = setting(
        "HF_TOKEN", None, description="Token for gated models", takes="a token of the hub"
    )
    hf_hub_offline: bool = setting(
        "HF_HUB_OFFLINE", False, description="Never downloads; models must be on this machine"
    )
    ssl_cert_file: Path | None = setting(
        "SSL_CERT_FILE",
        None,
        description="Certificate authorities that downloads trust",
        takes="a PEM file",
    )
    load_timeout_s: float = setting(
        "LLM_LOAD_TIMEOUT_S",
        1800.0,
        gt=0,
        le=86_400,
        description="Longest start of an engine, in seconds, the download not counted",
    )
    enable_isq: bool = setting(
        "LLM_ENABLE_ISQ",
        False,
        description="Quantises the model while it loads",
        not_yet=_NO_ISQ,
    )
    isq_type: str | None = setting(
        "LLM_ISQ_TYPE",
        None,
        description="Type of that quantisation",
        takes="a type such as Q4_K or Q8_0",
        not_yet=_NO_ISQ,
    )

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
        description="Tokens of KV cache for each concurrent request, never less than one whole "
        f"context; {CONTEXT_SIZE_FROM_MEMORY}: the cache is sized from memory",
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

    @field_validator("allowed_models", mode="before")
    @classmethod
    def _parse_models(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        texts = [text.strip() for text in value.split(",") if text.strip()]
        if not texts:
            raise ValueError("names no model")
        models: list[ModelId] = []
        mistakes: list[str] = []
        for text in texts:
            try:
                models.append(ModelId.parse(text))
            except InvalidModelId as error:
                mistakes.append(str(error))
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return tuple(dict.fromkeys(models))

    @field_validator("max_model_len", mode="before")
    @classmethod
    def _auto_is_none(cls, value: object) -> object:
        return None if isinstance(value, str) and value.strip().lower() == "auto" else value

    @field_validator("engine", "device", "paged_cache_type", mode="before")
    @classmethod
    def _lower_choice(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("model_path")
    @classmethod
    def _exists(cls, value: Path | None) -> Path | None:
        if value is not None and not value.expanduser().exists():
            raise ValueError("there is no such folder")
        return value

    @field_validator("ssl_cert_file")
    @classmethod
    def _is_file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("there is no such file")
        return value

    @property
    def has_fp8_kv_cache(self) -> bool:
        """Whether the KV cache is asked for in FP8."""
        return self.paged_cache_type is not KvCacheType.AUTO

    @property
    def served_model(self) -> ModelId:
        """The one model that is served, the first of the list."""
        return self.allowed_models[0]

    def notices(self) -> list[str]:
        """Returns one sentence for everything that is set and not in force yet."""
        later = ", ".join(f"'{model}'" for model in self.allowed_models[1:])
        several = (
            "LLM_ALLOWED_MODELS names several models, which is not in force yet: only "
            f"'{self.served_model}' is served, not {later}"
        )
        return [several, *super().notices()] if later else super().notices()
