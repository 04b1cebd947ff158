"""Every variable about the models: which, where their files are, how their engine runs."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationInfo, field_validator

from ...environment import Settings, setting
from ..contract.model_id import InvalidModelId, ModelId
from .memory_amount import MemoryAmount

ToolParser = Literal[
    "auto",
    "none",
    "hermes",
    "llama3",
    "mistral",
    "deepseek",
    "glm",
    "qwen3-coder",
    "gpt-oss",
]
ReasoningParser = Literal["auto", "none", "think", "mistral", "gpt-oss"]
# Which formats there are is known where they are read (`engines/answers`); a test compares.

AUTO: Final = "auto"
"""The engine, where the model and the machine decide."""

# Every model and adapter has a health name; these are taken (`health.py`).
_HEALTH_NAMES = ("liveness", "readiness", "tokenwire.v1.InferenceService")
# What the field `model` of a request holds.
_MAX_NAME_LENGTH = 512
# Part of git's rule for names of branches and tags. It becomes a path in the cache.
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,253}[A-Za-z0-9_+-]|[A-Za-z0-9]")


class DeviceChoice(enum.Enum):
    """Which device the operator asks for."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class ModelSettings(Settings):
    """The part of the configuration that decides which models run, and how."""

    allowed_models: tuple[ModelId, ...] = setting(
        "LLM_ALLOWED_MODELS",
        description="Models to serve, separated by commas",
        takes="model ids separated by commas: owner/repo, owner/repo:file.gguf or "
        "owner/repo:file.gguf@owner/tokenizer-repo",
    )
    # Which ones there are is known where they are registered (`preparation/kits.py`).
    engine: str = setting(
        "LLM_ENGINE",
        AUTO,
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
    model_revisions: Mapping[ModelId, str] = setting(
        "LLM_MODEL_REVISIONS",
        {},
        description="Revisions of models; unset: the default branch, as it is when it is fetched",
        takes="id=revision separated by commas, a revision being a branch, a tag or a commit",
    )
    lazy_load: bool | tuple[ModelId, ...] = setting(
        "LLM_LAZY_LOAD",
        False,
        description="Models that are loaded when they are first asked for: all, none, or these",
        takes="true, false, or ids of LLM_ALLOWED_MODELS separated by commas",
    )
    model_memory: Mapping[ModelId, MemoryAmount] = setting(
        "LLM_MODEL_MEMORY",
        {},
        description="Memory that weights, KV cache and work of a model may take together on each "
        "of its devices; unset: what is free, shared between the models",
        takes="id=amount separated by commas, an amount being a share such as 0.4 or a size such "
        "as 20GiB",
    )

    special_tokens_in_text: bool = setting(
        "LLM_SPECIAL_TOKENS_IN_TEXT",
        False,
        description="Reads the model's control tokens in the messages of a conversation, where "
        "they are text otherwise",
    )

    lora_adapters: Mapping[str, str] = setting(
        "LLM_LORA_ADAPTERS",
        {},
        description="LoRA adapters, served as models of these names; needs a GPU",
        takes="name=folder or name=owner/repo, separated by commas",
    )

    tool_parser: ToolParser = setting(
        "LLM_TOOL_PARSER",
        AUTO,
        description="How calls of tools are read from answers; auto: as the model's chat template "
        "shows them, none: not at all",
    )
    reasoning_parser: ReasoningParser = setting(
        "LLM_REASONING_PARSER",
        AUTO,
        description="How thinking is told from answers; auto: as the model's chat template marks "
        "it, none: not at all",
    )

    @field_validator("allowed_models", mode="before")
    @classmethod
    def _split_models(cls, value: object) -> object:
        return _parse_models(value) if isinstance(value, str) else value

    @field_validator("lazy_load", mode="before")
    @classmethod
    def _split_lazy(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str) or "/" not in value:
            return value
        models = _parse_models(value)
        _check_served(models, info)
        return models

    @field_validator("model_memory", mode="before")
    @classmethod
    def _split_memory(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        pairs = _split_by_model(value, info)
        return {model: MemoryAmount.parse(text) for model, text in pairs.items()}

    @field_validator("model_revisions", mode="before")
    @classmethod
    def _split_revisions(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        pairs = _split_by_model(value, info)
        for revision in pairs.values():
            if not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision:
                raise ValueError(f"'{revision}' is not the name of a branch, a tag or a commit")
        return pairs

    @field_validator("lora_adapters", mode="before")
    @classmethod
    def _split_adapters(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        adapters = _split_pairs(value)
        _check_adapter_names(adapters, info)
        return adapters

    @field_validator("engine", "device", "tool_parser", "reasoning_parser", mode="before")
    @classmethod
    def _lower_choice(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("model_path")
    @classmethod
    def _exists(cls, value: Path | None) -> Path | None:
        try:
            is_there = value is None or value.expanduser().exists()
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from error
        if not is_there:
            raise ValueError("there is no such folder")
        return value

    def is_lazy(self, model: ModelId) -> bool:
        """Whether a model is loaded when it is first asked for."""
        return self.lazy_load if isinstance(self.lazy_load, bool) else model in self.lazy_load


def _parse_models(value: str) -> tuple[ModelId, ...]:
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


def _split_by_model(value: str, info: ValidationInfo) -> dict[ModelId, str]:
    """Reads `id=value,id=value`, of models that are served."""
    pairs = _split_pairs(value)
    models = dict(zip(_parse_models(",".join(pairs)), pairs.values(), strict=False))
    _check_served(models, info)
    return models


def _check_served(models: Iterable[ModelId], info: ValidationInfo) -> None:
    served = info.data.get("allowed_models")  # missing where it has a mistake itself
    others = [f"'{model}'" for model in models if served is not None and model not in served]
    if others:
        raise ValueError(f"{', '.join(others)} is not in LLM_ALLOWED_MODELS")


def _check_adapter_names(names: Iterable[str], info: ValidationInfo) -> None:
    served = {str(model) for model in info.data.get("allowed_models", ())}
    for name in names:
        if name in served:
            raise ValueError(
                f"'{name}' is the id of a model of LLM_ALLOWED_MODELS: name the adapter otherwise"
            )
        if name in _HEALTH_NAMES:
            raise ValueError(
                f"'{name}' is a name of the health service: name the adapter otherwise"
            )
        if len(name) > _MAX_NAME_LENGTH:
            raise ValueError(
                f"a name has at most {_MAX_NAME_LENGTH} characters, '{name[:32]}…' has {len(name)}"
            )


def _split_pairs(value: str) -> dict[str, str]:
    """Reads `name=value,name=value`."""
    pairs: dict[str, str] = {}
    for text in value.split(","):
        if not text.strip():
            continue
        name, equals, rest = (part.strip() for part in text.rpartition("="))
        if not (name and equals and rest):
            raise ValueError(f"'{text.strip()}' is not of the form name=value")
        if name in pairs:
            raise ValueError(f"'{name}' stands in it twice")
        pairs[name] = rest
    return pairs
