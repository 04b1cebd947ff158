"""From a model id to a launcher: the engine that runs it here, its files, and its place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from ..contract.engine import Engine
from ..contract.engine_settings import options
from ..contract.errors import ModelLoadFailed
from ..contract.load_progress import ReportProgress
from ..contract.model_id import ModelId
from ..engines.kit import Assignment, EngineKit, EnginePlan, NoEngine, Placement
from ..files.lora_finder import LoraFinder
from ..files.model_finder import ModelFinder
from ..machine.gpus import describe_gpus, visible_gpus
from ..machine.host_resources import measure_host
from ..models.model_state import PreparedModel
from ..settings.model_settings import AUTO, DeviceChoice
from ..settings.server_config import ServerConfig
from .engine_choice import EngineDecision, choose_engine, inspect_machine
from .kits import KITS
from .placement import NoRoom, Placements

_logger = structlog.get_logger(__name__)


class Preparation:
    """Chooses engines, finds files and shares the devices, as the configuration says.

    `config` is of the class that `config_class` makes for the same kits.
    """

    def __init__(self, config: ServerConfig, kits: Sequence[EngineKit] = KITS) -> None:
        self._config = config
        self._kits = kits
        self._finder = ModelFinder(config)
        self._adapters = LoraFinder(config, self._finder)
        self._placements = Placements(visible_gpus, lambda: measure_host().available_bytes)
        self._machine = inspect_machine(kits=kits)
        _logger.info("machine", gpus=describe_gpus(self._machine.gpus))

    async def prepare(self, model_id: str, report: ReportProgress) -> PreparedModel:
        """Returns the launcher for a model whose files are then on this machine.

        All models are prepared before the first is launched, because they share the devices.

        Raises:
            ModelLoadFailed: no engine can run it here, or its files are not to be had.
        """
        config = self._config
        model = ModelId.parse(model_id)
        try:
            decision = choose_engine(model, config.engine, config.device, self._machine, self._kits)
        except NoEngine as error:
            raise ModelLoadFailed(str(error)) from error
        _announce(model_id, decision)
        files = await self._finder.find(model, report, only_gguf=decision.kit.only_gguf)
        assignment = Assignment(model, files, decision.device, config, self._finder, self._adapters)
        plan = await decision.kit.plan(assignment, report)
        fallback = self._find_fallback(model, decision, plan.obstacle)
        if fallback is not None:
            decision = fallback
            _announce(model_id, decision)
            assignment = replace(assignment, device=decision.device)
            plan = await decision.kit.plan(assignment, report)
        refusal = await asyncio.to_thread(plan.find_refusal)
        if refusal is not None:
            raise ModelLoadFailed(refusal)
        notices = await asyncio.to_thread(plan.find_notices)
        for notice in [*not_honoured(config, decision, self._kits), *notices]:
            _logger.warning("not_honoured", model=model_id, notice=notice)
        demand = plan.demand(len(self._machine.gpus))
        self._placements.add(replace(demand, amount=config.model_memory.get(model)))
        launcher = PlacedLauncher(decision, plan, demand.model_id, self._placements)
        return PreparedModel(launcher, files.revision, plan.adapters)

    def _find_fallback(
        self, model: ModelId, decision: EngineDecision, obstacle: str | None
    ) -> EngineDecision | None:
        """Decides for another engine where the files keep this one from running them."""
        config = self._config
        if obstacle is None or config.engine != AUTO or config.device is not DeviceChoice.AUTO:
            return None  # what was asked for and cannot be is refused later
        others = [kit for kit in self._kits if kit is not decision.kit]
        try:
            fallback = choose_engine(model, AUTO, config.device, self._machine, others)
        except NoEngine:
            return None
        reason = f"{obstacle}, so it runs on the {fallback.device.value.upper()}"
        return replace(fallback, reason=reason)


@dataclass(frozen=True, slots=True)
class PlacedLauncher:
    """Launches a model in its place, which is known when all models are prepared."""

    decision: EngineDecision
    plan: EnginePlan
    model_id: str
    placements: Placements

    async def launch(self, report: ReportProgress) -> Engine:
        """Starts the engine with its share of the devices; see `EngineLauncher.launch`."""
        placement = await asyncio.to_thread(self.place)
        return await self.plan.launcher(placement).launch(report)

    def place(self) -> Placement:
        """Returns the model's share of the devices.

        Raises:
            ModelLoadFailed: there is no room for it.
        """
        try:
            return self.placements.of(self.model_id)
        except NoRoom as error:
            raise ModelLoadFailed(str(error)) from error


def _announce(model_id: str, decision: EngineDecision) -> None:
    _logger.info(
        "engine_chosen",
        model=model_id,
        engine=decision.kit.kind,
        device=decision.device.value,
        reason=decision.reason,
    )
    if decision.missing:
        raise ModelLoadFailed(decision.missing)


def not_honoured(
    config: ServerConfig, decision: EngineDecision, kits: Sequence[EngineKit] = KITS
) -> list[str]:
    """Says, one sentence each, which variables are set and mean nothing to the engine chosen."""
    notices = decision.kit.not_honoured(config, decision.device)
    if config.isq_type is not None and not config.enable_isq:
        notices.append("LLM_ISQ_TYPE does nothing without LLM_ENABLE_ISQ=true")
    own = options(decision.kit.settings).values()
    for kit in kits:
        names = sorted(
            option.variable
            for option in options(kit.settings).values()
            if option not in own and option.attribute in config.model_fields_set
        )
        if names:
            read = "these" if len(names) > 1 else "this"
            notices.append(
                f"{', '.join(names)}: only {kit.name} reads {read}, and {decision.kit.name} runs "
                "the model"
            )
    return notices
