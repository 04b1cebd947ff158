"""What an engine is started with: the files of a model, and how to run it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .isq_type import IsqType


class ModelFormat(enum.Enum):
    """How a model's weights are stored."""

    GGUF = "gguf"
    SAFETENSORS = "safetensors"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where one model lies on this machine.

    `path` is the `.gguf` file (the first of a split file) or the folder with `config.json`.
    `tokenizer` is the folder of a tokenizer that the id names beside the weights, `projector` the
    file that makes a model of GGUF see.
    """

    model_id: str
    format: ModelFormat
    path: Path
    revision: str = ""
    tokenizer: Path | None = None
    projector: Path | None = None


class Device(enum.Enum):
    """What an engine computes on."""

    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The configuration of an engine, as far as every engine has it.

    `max_running` requests run at once. `max_model_len` limits prompt and answer of one request;
    None: as long as the model and the memory allow. `kv_pool_tokens` is the size asked for the KV
    cache; None: sized from memory. `num_threads` None: chosen from the CPUs of this process.

    `memory_bytes` is what weights, KV cache and work may take together on each device; None: what
    is free. `gpu_ids` are the GPUs to use, as `CUDA_VISIBLE_DEVICES` names them; empty: those that
    are visible. `isq` is what the weights are quantised to while they load. `lora_adapters` are
    folders by name. `tool_parser` and `reasoning_parser` are names, `auto` or `none`.
    `special_tokens_in_text` says that conversations may hold control tokens in the words of a
    message.

    An engine with variables of its own has a subclass, which declares each with `option`.
    """

    device: Device
    max_running: int
    max_model_len: int | None = None
    kv_pool_tokens: int | None = None
    prefix_caching: bool = False
    page_size: int = 32
    fp8_kv_cache: bool = False
    num_threads: int | None = None
    load_timeout_s: float = 1800.0
    memory_bytes: int | None = None
    gpu_ids: tuple[str, ...] = ()
    isq: IsqType | None = None
    lora_adapters: Mapping[str, Path] = field(default_factory=dict[str, Path])
    tool_parser: str = "auto"
    reasoning_parser: str = "auto"
    special_tokens_in_text: bool = False

    def find_mistake(self) -> str:
        """Says which variables of the engine do not go together; empty where all do."""
        return ""


@dataclass(frozen=True, slots=True)
class Option:
    """A variable that one engine alone reads, as `option` declares it.

    `setting` are the arguments of `tokenwire.environment.setting`; this module must do without
    pydantic, which is not there where SGLang is checked beside its own packages.
    """

    variable: str
    setting: Mapping[str, Any]
    parse: Callable[[str], object] | None
    is_argument: bool

    @property
    def attribute(self) -> str:
        """Its name among the settings of the whole server, where two engines must not meet."""
        return self.variable.lower()


def option(
    variable: str,
    default: object = None,
    *,
    parse: Callable[[str], object] | None = None,
    is_argument: bool = True,
    **setting: Any,  # as `setting` takes them
) -> Any:  # a field of the type that it is declared with
    """Declares a field of an engine's settings that the variable `variable` fills.

    `parse` makes a value of its text, and raises ValueError. The field of an argument
    (`is_argument`) has the name that the engine itself knows it by.

        @dataclass(frozen=True, slots=True)
        class MyEngineSettings(EngineSettings):
            beam_width: int = option("LLM_BEAM_WIDTH", 1, ge=1, description="Beams of a search")
    """
    declared = Option(variable, {"default": default, **setting}, parse, is_argument)
    return field(default=default, metadata={Option: declared})


def options(settings: type[EngineSettings]) -> dict[str, Option]:
    """Returns the options of an engine's settings, by the name of the field."""
    return {
        each.name: each.metadata[Option] for each in fields(settings) if Option in each.metadata
    }
