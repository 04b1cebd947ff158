"""A third engine: its own folder would hold what stands here, and `KITS` one word more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tokenwire.environment import ConfigurationError, load
from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.engine_settings import Device, EngineSettings, ModelFiles, option
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.contract.load_progress import LoadProgress, ReportProgress
from tokenwire.server.contract.model_id import ModelId
from tokenwire.server.engines.kit import (
    Assignment,
    Demand,
    EngineKit,
    NoEngine,
    Offer,
    Placement,
    read_settings,
)
from tokenwire.server.preparation.engine_choice import Machine, choose_engine
from tokenwire.server.preparation.kits import KITS, config_class
from tokenwire.server.preparation.preparation import Preparation
from tokenwire.server.settings.model_settings import AUTO, DeviceChoice
from tokenwire.server.settings.server_config import ServerConfig
from tokenwire.variables import variables

from ...surroundings import surround
from .test_preparation import write_model

ARIA = "aria/model"


@dataclass(frozen=True, slots=True)
class AriaSettings(EngineSettings):
    """The settings of an engine that no other knows of."""

    num_voices: int = option(
        "LLM_ARIA_VOICES", 1, ge=1, le=64, description="Voices that sing at once"
    )

    def find_mistake(self) -> str:
        return "LLM_ARIA_VOICES does not go with 13" if self.num_voices == 13 else ""


@dataclass(frozen=True, slots=True)
class AriaLauncher:
    files: ModelFiles
    settings: AriaSettings
    placement: Placement

    async def launch(self, report: ReportProgress) -> Engine:
        report(LoadProgress(f"{self.settings.num_voices} voices sing {self.files.path.name}"))
        raise ModelLoadFailed(f"given {self.placement.memory_bytes} bytes")


@dataclass(frozen=True, slots=True)
class AriaPlan:
    files: ModelFiles
    settings: AriaSettings
    adapters: tuple[str, ...] = ()
    obstacle: str | None = None

    def find_refusal(self) -> str | None:
        return "an aria has no 7 voices" if self.settings.num_voices == 7 else None

    def find_notices(self) -> list[str]:
        return ["LLM_ARIA_VOICES: they are all sopranos"]

    def demand(self, num_gpus: int) -> Demand:
        return Demand(self.files.model_id, Device.CPU, 1 << 20, num_copies=num_gpus + 1)

    def launcher(self, placement: Placement) -> AriaLauncher:
        return AriaLauncher(self.files, self.settings, placement)


class AriaKit:
    kind = "aria"
    name = "Aria"
    module = "json"  # a package that is always installed
    settings = AriaSettings
    only_gguf = False

    def offer(self, model: ModelId, *, uses_gpu: bool) -> Offer:
        if not model.repo.startswith("aria/"):
            raise NoEngine(f"Aria does not sing '{model}'")
        return Offer(Device.CPU, -1, "it sings on a GPU, too" if uses_gpu else "it sings")

    def not_honoured(self, config: ServerConfig, device: Device) -> list[str]:
        return [f"no GPU is used on {device.value}"] if config.has_fp8_kv_cache else []

    async def plan(self, assignment: Assignment, report: ReportProgress) -> AriaPlan:
        report(LoadProgress("tuning"))
        settings = read_settings(AriaSettings, assignment.config, assignment.device)
        return AriaPlan(assignment.files, settings)


ENGINES: tuple[EngineKit, ...] = (*KITS, AriaKit())


def load_three(
    monkeypatch: pytest.MonkeyPatch, folder: Path, models: str = ARIA, **values: str
) -> ServerConfig:
    for name in models.split(","):
        if not (folder / name).exists():
            write_model(folder / name, 1 << 20)
    surround(
        monkeypatch,
        folder,
        LLM_ALLOWED_MODELS=models,
        LLM_MODEL_PATH=str(folder),
        CUDA_VISIBLE_DEVICES="",
        **values,
    )
    return load(config_class(ENGINES))


async def prepare(config: ServerConfig, model_id: str) -> tuple[list[str], list[str]]:
    """Prepares and launches a model; what was reported and what was not honoured."""
    steps: list[str] = []
    preparation = Preparation(config, ENGINES)
    with capture_logs() as logs:
        prepared = await preparation.prepare(model_id, lambda progress: steps.append(progress.text))
        with pytest.raises(ModelLoadFailed, match="given"):
            await prepared.launcher.launch(lambda progress: steps.append(progress.text))
    return steps, [log["notice"] for log in logs if log["event"] == "not_honoured"]


async def test_it_is_chosen_and_launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the same function and the same launcher as the others, with a variable of its own."""
    config = load_three(monkeypatch, tmp_path, LLM_ARIA_VOICES="4", LLM_TP_SIZE="2")
    steps, notices = await prepare(config, ARIA)
    assert steps[-2:] == ["tuning", "4 voices sing model"]
    assert notices == [
        "LLM_TP_SIZE: only SGLang reads this, and Aria runs the model",
        "LLM_ARIA_VOICES: they are all sopranos",
    ]


async def test_what_it_alone_reads_is_told_of_another_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its variable is declared in its settings, and nowhere else."""
    config = load_three(monkeypatch, tmp_path, "some/model", LLM_ARIA_VOICES="4")
    machine = Machine(has_gpu=False, installed=frozenset(kit.kind for kit in ENGINES))
    preparation = Preparation(config, ENGINES)
    monkeypatch.setattr(preparation, "_machine", machine)
    with capture_logs() as logs:
        await preparation.prepare("some/model", lambda _: None)
    notices = [log["notice"] for log in logs if log["event"] == "not_honoured"]
    assert "LLM_ARIA_VOICES: only Aria reads this, and SGLang runs the model" in notices


async def test_its_refusal_ends_the_preparation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The model fails with the engine's own sentence."""
    config = load_three(monkeypatch, tmp_path, LLM_ARIA_VOICES="7")
    with pytest.raises(ModelLoadFailed, match="no 7 voices"):
        await Preparation(config, ENGINES).prepare(ARIA, lambda _: None)


def test_it_can_be_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """LLM_ENGINE takes its name, and tells it among those that there are."""
    config = load_three(monkeypatch, tmp_path, LLM_ENGINE="Aria")
    machine = Machine(has_gpu=False, installed=frozenset({"aria"}))

    def kind(model: str, engine: str) -> str:
        return choose_engine(
            ModelId.parse(model), engine, DeviceChoice.AUTO, machine, ENGINES
        ).kit.kind

    assert kind(ARIA, config.engine) == "aria"
    assert kind(ARIA, AUTO) == "aria"
    assert kind("some/model", AUTO) == "sglang"
    with pytest.raises(NoEngine, match="Aria does not sing 'some/model'"):
        kind("some/model", config.engine)
    takes = {each.name: each.takes for each in variables(config_class(ENGINES))}["LLM_ENGINE"]
    assert takes == "one of auto, sglang, llamacpp, aria"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("0", "LLM_ARIA_VOICES: takes a whole number from 1 to 64, got '0'"),
        ("13", "LLM_ARIA_VOICES does not go with 13"),
    ],
)
def test_its_mistakes_are_told_with_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str, problem: str
) -> None:
    """A variable of its own is checked as every other, at the start."""
    with pytest.raises(ConfigurationError) as raised:
        load_three(monkeypatch, tmp_path, LLM_ARIA_VOICES=value)
    assert raised.value.problems == (problem,)


def test_its_variable_is_unknown_without_it() -> None:
    """Only what is registered is read."""
    assert "LLM_ARIA_VOICES" not in {each.name for each in variables(config_class())}
    assert "LLM_ARIA_VOICES" in {each.name for each in variables(config_class(ENGINES))}
