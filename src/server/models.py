"""The models of this server: where each one stands, and the engine that runs it now."""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

import structlog

from .admission import Admission
from .engine import Engine, EngineLauncher, LoadProgress, ModelInfo, ReportProgress
from .errors import ModelLoadFailed, ModelLoading, UnsupportedModel

_logger = structlog.get_logger(__name__)

# Waits before the first, second, … restart of an engine that keeps dying.
_RESTART_DELAYS_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)
# An engine that served this long was healthy: its death counts as the first again.
_HEALTHY_AFTER_S = 60.0


class State(enum.Enum):
    """Where a model stands."""

    LOADING = "loading"
    SERVING = "serving"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A model whose files are on this machine, with the launcher of the engine chosen for it."""

    launcher: EngineLauncher
    revision: str = ""


Prepare = Callable[[str, ReportProgress], Awaitable[PreparedModel]]


@dataclass(frozen=True, slots=True)
class ModelView:
    """What is told about a model. `info` is None until it has been loaded once."""

    model_id: str
    revision: str
    state: State
    progress: LoadProgress | None
    failure: str
    info: ModelInfo | None


class ServedModel:
    """One model for the life of the server: fetched, loaded, watched and restarted."""

    def __init__(
        self,
        model_id: str,
        prepare: Prepare,
        *,
        max_in_flight: int,
        max_queued: int,
        on_change: Callable[[], None],
    ) -> None:
        self.model_id = model_id
        self.admission = Admission(max_in_flight, max_queued)
        self.num_restarts = 0
        self.load_s: float | None = None
        self._prepare = prepare
        self._max_in_flight = max_in_flight
        self._on_change = on_change
        self._state = State.LOADING
        self._progress: LoadProgress | None = LoadProgress("waiting")
        self._failure = ""
        self._revision = ""
        self._engine: Engine | None = None
        self._info: ModelInfo | None = None

    @property
    def view(self) -> ModelView:
        """Where the model stands now."""
        return ModelView(
            self.model_id, self._revision, self._state, self._progress, self._failure, self._info
        )

    @property
    def engine(self) -> Engine:
        """The engine that serves now.

        Raises:
            ModelLoading: there is none yet, or it is being replaced.
            ModelLoadFailed: there will be none.
        """
        if self._engine is not None:
            return self._engine
        if self._state is State.FAILED:
            raise ModelLoadFailed(f"model '{self.model_id}' failed to load: {self._failure}")
        step = f" ({self._progress.step})" if self._progress else ""
        raise ModelLoading(f"model '{self.model_id}' is loading{step}")

    async def run(self) -> None:
        """Loads the model and keeps an engine running for it, until cancelled or given up."""
        try:
            prepared = await self._prepare(self.model_id, self._report)
            self._revision = prepared.revision
            await self._keep_running(prepared.launcher)
        except ModelLoadFailed as error:
            self._failure = error.message
            self._set(State.FAILED, None)
            _logger.error("model_failed", model=self.model_id, reason=error.message)
        except Exception:
            # The front goes on without the model: its other faces must tell what happened.
            _logger.exception("model_failed", model=self.model_id)
            self._failure = "an internal error; the server's log has the details"
            self._set(State.FAILED, None)

    async def _keep_running(self, launcher: EngineLauncher) -> None:
        num_short_lives = 0
        while True:
            lived_s, reason = await self._run_once(launcher)
            num_short_lives = 0 if lived_s >= _HEALTHY_AFTER_S else num_short_lives
            if num_short_lives == len(_RESTART_DELAYS_S):
                raise ModelLoadFailed(
                    f"its engine died {num_short_lives + 1} times in a row, last: {reason}"
                )
            delay_s = _RESTART_DELAYS_S[num_short_lives]
            num_short_lives += 1
            self.num_restarts += 1
            _logger.error("engine_lost", model=self.model_id, reason=reason, restart_in_s=delay_s)
            self._set(State.LOADING, LoadProgress("restarting the engine"))
            await asyncio.sleep(delay_s)

    async def _run_once(self, launcher: EngineLauncher) -> tuple[float, str]:
        """Runs one engine to its end; returns how long it served, and why it ended."""
        start_s = time.monotonic()
        try:
            engine = await launcher.launch(self._report)
        except ModelLoadFailed as error:
            if self._info is None:
                raise  # never loaded: another try would end the same
            # It was loaded before, so what is wrong may pass, such as a lack of memory.
            return 0.0, error.message
        serving_since_s = time.monotonic()
        self.load_s = serving_since_s - start_s
        try:
            self._serve(engine)
            reason = await engine.wait_lost()
        finally:
            lived_s = time.monotonic() - serving_since_s
            self._engine = None
            # Told before the engine is cleared away, which can take seconds.
            self._set(State.LOADING, LoadProgress("ending the engine"))
            await engine.close()
        return lived_s, reason

    def _serve(self, engine: Engine) -> None:
        self._engine = engine
        self._info = engine.info
        self.admission.resize(min(self._max_in_flight, engine.info.max_running))
        self._set(State.SERVING, None)
        _logger.info(
            "model_serving",
            model=self.model_id,
            engine=engine.info.engine,
            device=engine.info.device,
            context_length=engine.info.context_length,
            max_in_flight=min(self._max_in_flight, engine.info.max_running),
            load_s=round(self.load_s or 0.0, 2),
        )

    def _report(self, progress: LoadProgress) -> None:
        # Behind the comma stands how far the step is: told to those who ask, not to the log.
        step = progress.step.partition(",")[0]
        if self._progress is None or step != self._progress.step.partition(",")[0]:
            _logger.info("model_loading", model=self.model_id, step=step)
        self._set(State.LOADING, progress)

    def _set(self, state: State, progress: LoadProgress | None) -> None:
        self._state = state
        self._progress = progress
        self._on_change()


class Models:
    """The models that this server offers, in the order of the configuration."""

    def __init__(
        self, model_ids: Iterable[str], prepare: Prepare, *, max_in_flight: int, max_queued: int
    ) -> None:
        self._observers: list[Callable[[], None]] = []
        self._models = {
            model_id: ServedModel(
                model_id,
                prepare,
                max_in_flight=max_in_flight,
                max_queued=max_queued,
                on_change=self._notify,
            )
            for model_id in model_ids
        }

    def observe(self, observer: Callable[[], None]) -> None:
        """Calls `observer` now, and after every change of any model's state or progress."""
        self._observers.append(observer)
        observer()

    def get(self, model_id: str) -> ServedModel:
        """Returns the model of this id.

        Raises:
            UnsupportedModel: there is none.
        """
        model = self._models.get(model_id)
        if model is None:
            raise UnsupportedModel(model_id, list(self._models))
        return model

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    @property
    def is_ready(self) -> bool:
        """Every model serves or has finally failed, and at least one serves."""
        states = [model.view.state for model in self._models.values()]
        return State.SERVING in states and State.LOADING not in states

    async def run(self) -> None:
        """Loads the models and keeps them running, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for model in self._models.values():
                group.create_task(model.run(), name=f"model {model.model_id}")

    def _notify(self) -> None:
        for observer in self._observers:
            observer()
