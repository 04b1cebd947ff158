"""The engine of every configured model, as the server would decide it."""

from __future__ import annotations

from ..server.contract.model_id import ModelId
from ..server.engines.kit import NoEngine
from ..server.preparation.engine_choice import EngineDecision, Machine, choose_engine
from ..server.settings.model_settings import ModelSettings


def decide_all(
    settings: ModelSettings, machine: Machine
) -> dict[ModelId, EngineDecision | NoEngine]:
    """Decides for each model, in the order of the configuration, or finds why none can run it."""
    decisions: dict[ModelId, EngineDecision | NoEngine] = {}
    for model in settings.allowed_models:
        try:
            decisions[model] = choose_engine(model, settings.engine, settings.device, machine)
        except NoEngine as error:
            decisions[model] = error
    return decisions


def describe(decision: EngineDecision | NoEngine) -> str:
    """Says in one line which engine it is and why, what is missing, or why there is none."""
    if isinstance(decision, NoEngine):
        return f"none: {decision}"
    return decision.missing or f"{decision.kit.name} on {decision.device.value}: {decision.reason}"
