"""Which engine runs a model, decided once for `make run`, `tokenwire serve` and `config`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..contract.engine_settings import Device
from ..contract.model_id import DEFAULT_MODEL, ModelId
from ..engines.kit import EngineKit, NoEngine, Offer
from ..machine.gpus import Gpu, visible_gpus
from ..settings.model_settings import AUTO, DeviceChoice
from .kits import KITS


@dataclass(frozen=True, slots=True)
class Machine:
    """What the decision needs to know about this machine; `installed` are kinds of engines."""

    has_gpu: bool
    installed: frozenset[str]
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineDecision:
    """The engine for a model and why, in one line.

    `missing` is empty, or says which extra must be installed first.
    """

    kit: EngineKit
    device: Device
    reason: str
    missing: str = ""


def choose_engine(
    model: ModelId,
    engine: str,
    device: DeviceChoice,
    machine: Machine,
    kits: Sequence[EngineKit] = KITS,
) -> EngineDecision:
    """Decides which engine runs `model` on which device; `engine` is a kind, or auto.

    Raises:
        NoEngine: what is asked for cannot be had.
    """
    if device is DeviceChoice.CUDA and not machine.has_gpu:
        raise NoEngine("LLM_DEVICE=cuda, but this machine has no NVIDIA GPU that can be used")
    offers: list[tuple[EngineKit, Offer]] = []
    refusals: list[str] = []
    for kit in kits:
        if engine not in (AUTO, kit.kind):
            continue
        try:
            offers.append((kit, _offer(kit, model, device, machine)))
        except NoEngine as error:
            refusals.append(str(error))
    if not offers:
        raise NoEngine("; ".join(refusals))
    offers.sort(key=lambda pair: pair[1].rank)
    kit, offer = best = offers[0]
    if engine != AUTO:
        offer = replace(offer, reason="LLM_ENGINE asks for it")
    elif kit.kind not in machine.installed:
        here = [pair for pair in offers if pair[0].kind in machine.installed]
        kit, offer = _explain(best, model, here[0]) if here else best
    missing = ""
    if kit.kind not in machine.installed:
        missing = (
            f"{kit.name} is not installed: install the extra '{kit.kind}' "
            f"(pip install 'tokenwire[{kit.kind}]')"
        )
        missing += f", or {offer.instead}" if offer.instead else ""
    return EngineDecision(kit, offer.device, offer.reason, missing)


def _offer(kit: EngineKit, model: ModelId, device: DeviceChoice, machine: Machine) -> Offer:
    uses_gpu = machine.has_gpu and device is not DeviceChoice.CPU
    offer = kit.offer(model, uses_gpu=uses_gpu)
    if device is DeviceChoice.CUDA and offer.device is not Device.CUDA:
        raise NoEngine(
            f"LLM_ENGINE={kit.kind} computes on CPU, not on LLM_DEVICE=cuda: change one of them"
        )
    return offer


def _explain(
    best: tuple[EngineKit, Offer], model: ModelId, taken: tuple[EngineKit, Offer]
) -> tuple[EngineKit, Offer]:
    """Says why an engine is taken that is not the best one, but the best of those installed."""
    kit, offer = taken
    if model == DEFAULT_MODEL:
        reason = f"the built-in model runs on what is installed: {kit.name}"
    else:
        idle = "the GPU is idle" if offer.device is not best[1].device else f"{kit.name} is taken"
        reason = f"{offer.reason}; {idle} until the extra '{best[0].kind}' is installed"
    return kit, replace(offer, reason=reason)


def inspect_machine(
    environment: Mapping[str, str] = os.environ, kits: Sequence[EngineKit] = KITS
) -> Machine:
    """Looks at this machine without loading an engine."""
    gpus = visible_gpus(environment)
    installed = (kit.kind for kit in kits if importlib.util.find_spec(kit.module) is not None)
    return Machine(bool(gpus), frozenset(installed), gpus)
