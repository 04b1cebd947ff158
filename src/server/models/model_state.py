"""Where a model stands, and what the service reports about it."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..contract.engine import EngineLauncher, ModelInfo
from ..contract.load_progress import LoadProgress, ReportProgress


class State(enum.Enum):
    """Where a model stands."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    SERVING = "serving"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A model whose files are on this machine, with the launcher of the engine chosen for it.

    `adapters` are the LoRA adapters of the configuration, by name, that belong to the model.
    """

    launcher: EngineLauncher
    revision: str = ""
    adapters: tuple[str, ...] = ()


Prepare = Callable[[str, ReportProgress], Awaitable[PreparedModel]]


@dataclass(frozen=True, slots=True)
class ModelView:
    """What the service reports about a model, or about a LoRA adapter of one.

    `info` is None until the model has been loaded once. `base_model` is empty unless it is an
    adapter whose model is known.
    """

    model_id: str
    revision: str
    state: State
    progress: LoadProgress | None
    failure: str
    info: ModelInfo | None
    base_model: str = ""
