"""What preparation asks of every kind of engine, and what passes between the two.

A third engine is a folder here with a kit in it, and a word in `preparation/kits.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from ..contract.engine import EngineLauncher
from ..contract.engine_settings import Device, EngineSettings, ModelFiles, options
from ..contract.load_progress import ReportProgress
from ..contract.model_id import ModelId
from ..files.lora_finder import LoraFinder
from ..files.model_finder import ModelFinder
from ..settings.memory_amount import MemoryAmount
from ..settings.server_config import ServerConfig


class NoEngine(Exception):
    """No engine can run the model as it is configured; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An engine that can run a model, judged by the model's id alone.

    Of several offers the one with the lowest `rank` is taken, and of equal ones the first.
    `instead` is empty, or says what else there is to do where the engine is not installed.
    """

    device: Device
    rank: int
    reason: str
    instead: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A model that an engine was chosen for, with its files, and who finds others."""

    model: ModelId
    files: ModelFiles
    device: Device
    config: ServerConfig
    finder: ModelFinder
    adapters: LoraFinder


@dataclass(frozen=True, slots=True)
class Demand:
    """What a model needs.

    `weight_bytes` is the size of one copy of the weights in memory, over all its GPUs;
    `fixed_bytes` what its engine takes beside them on each device, whatever the model. `sizes` are
    the numbers of GPUs that its copies together can be spread over, in order of preference; empty
    on a CPU. `amount` is what the operator gives it on each device, which no kit has to fill in.
    """

    model_id: str
    device: Device
    weight_bytes: int
    fixed_bytes: int = 0
    sizes: tuple[int, ...] = ()
    num_copies: int = 1
    amount: MemoryAmount | None = None

    def shard_bytes(self, size: int) -> int:
        """Returns the bytes of weights on each of `size` GPUs."""
        return -(-self.weight_bytes * self.num_copies // size)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model runs.

    `memory_bytes` is for each of its devices; None: what is free.
    """

    gpu_ids: tuple[str, ...] = ()
    memory_bytes: int | None = None


class EnginePlan(Protocol):
    """One model on one engine, its files read, before anything is started."""

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the LoRA adapters that the model runs with."""
        ...

    @property
    def obstacle(self) -> str | None:
        """What in the files keeps this engine from running them, where another one may."""
        ...

    def find_refusal(self) -> str | None:
        """Returns why the model cannot run as it is configured, naming the variable. May block."""
        ...

    def find_notices(self) -> list[str]:
        """Says, one sentence each, what becomes of settings that the files change. May block."""
        ...

    def demand(self, num_gpus: int) -> Demand:
        """Computes what the model takes of each device, on a machine with `num_gpus`."""
        ...

    def launcher(self, placement: Placement) -> EngineLauncher:
        """Returns what starts the engine in its place."""
        ...


class EngineKit(Protocol):
    """One kind of engine: all that the front knows of it.

        decision = choose_engine(model, config.engine, config.device, machine)
        plan = await decision.kit.plan(assignment, report)
        engine = await plan.launcher(placement).launch(report)

    `kind` is its name in `LLM_ENGINE`, and that of the extra that installs it; `name` is written
    for people; `module` is the package that must be installed, which importing the kit does not
    import. An engine with `only_gguf` reads nothing but GGUF files, with the tokenizer in them.
    """

    kind: str
    name: str
    module: str
    only_gguf: bool

    @property
    def settings(self) -> type[EngineSettings]:
        """Its settings, in which variables that it alone reads are declared with `option`."""
        ...

    def offer(self, model: ModelId, *, uses_gpu: bool) -> Offer:
        """Offers to run a model, where there is a GPU that it may use or none.

        Raises:
            NoEngine: it cannot run such a model there; says what to change.
        """
        ...

    def not_honoured(self, config: ServerConfig, device: Device) -> list[str]:
        """Says, one sentence each, which variables that are not its own mean nothing to it."""
        ...

    async def plan(self, assignment: Assignment, report: ReportProgress) -> EnginePlan:
        """Reads the files of a model, each once, and finds what it needs beside them.

        Raises:
            ModelLoadFailed: something that it needs is not to be had.
        """
        ...


SettingsT = TypeVar("SettingsT", bound=EngineSettings)


def read_settings(
    settings_class: type[SettingsT], config: ServerConfig, device: Device
) -> SettingsT:
    """Picks what an engine needs to know from the configuration, its own variables with it."""
    return settings_class(
        device=device,
        max_running=config.max_concurrent_requests,
        max_model_len=config.max_model_len,
        kv_pool_tokens=config.kv_pool_tokens,
        prefix_caching=config.enable_prefix_caching,
        page_size=config.paged_attention_block_size,
        fp8_kv_cache=config.has_fp8_kv_cache,
        num_threads=config.num_threads,
        load_timeout_s=config.load_timeout_s,
        isq=config.isq,
        tool_parser=config.tool_parser,
        reasoning_parser=config.reasoning_parser,
        special_tokens_in_text=config.special_tokens_in_text,
        **{
            name: getattr(config, option.attribute)
            for name, option in options(settings_class).items()
        },
    )
