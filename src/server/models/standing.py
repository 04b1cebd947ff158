"""Where one model stands, and the engine that serves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import structlog

from ..contract.engine import Engine
from ..contract.errors import InferenceError, ModelLoadFailed, ModelLoading
from ..contract.load_progress import Download, LoadProgress
from .model_state import ModelView, State

_logger = structlog.get_logger(__name__)

_TURN = LoadProgress("waiting for its turn to load")
_ENDING = LoadProgress("ending the engine")


class Standing:
    """The state of one model, its progress and its engine: all of them are changed here alone.

    `on_change` is called after every change. `is_on_demand`: the next load is one that requests ask
    for, and they wait for it. Where the server loads by itself, at its start and after a death,
    requests are refused meanwhile.
    """

    def __init__(self, model_id: str, *, is_on_demand: bool, on_change: Callable[[], None]) -> None:
        self.view = ModelView(model_id, "", State.LOADING, LoadProgress("waiting"), "", None)
        self.is_on_demand = is_on_demand
        self.has_settled = False  # it has served or failed once
        # The last one, which may be of a tokenizer or an adapter; zeros: nothing was fetched.
        self.download = Download()
        self._on_change = on_change
        self._engine: Engine | None = None
        self._has_news = asyncio.Event()  # of the next engine, or that there will be none

    @property
    def engine(self) -> Engine:
        """The engine that serves now.

        Raises:
            ModelLoading: there is none yet, or it is being replaced.
            ModelLoadFailed: there will be none.
        """
        if self._engine is None:
            raise self.explain()
        return self._engine

    @property
    def is_serving(self) -> bool:
        """Whether there is an engine now."""
        return self._engine is not None

    def explain(self) -> InferenceError:
        """Makes the error that says why no engine serves."""
        view = self.view
        if view.state is State.FAILED:
            return ModelLoadFailed(f"'{view.model_id}' cannot be served: {view.failure}")
        step = f": {view.progress.text}" if view.progress else ""
        return ModelLoading(f"'{view.model_id}' is not loaded yet{step}")

    async def next_engine(self, after: Engine | None = None) -> Engine:
        """Waits for the engine that follows `after`, or gives the present one if it is another.

        The caller bounds the wait.

        Raises:
            ModelLoadFailed: there will be none.
        """
        while self._engine is None or self._engine is after:
            if self.view.state is State.FAILED:
                raise self.explain()
            await self._has_news.wait()
        return self._engine

    def record_revision(self, revision: str) -> None:
        """Keeps the revision of the files that were found for the model."""
        self.view = replace(self.view, revision=revision)

    def report(self, progress: LoadProgress) -> None:
        """The model loads, and is as far as this."""
        if self.view.progress is None or progress.step != self.view.progress.step:
            _logger.info("model_loading", model=self.view.model_id, step=progress.step)
        self.download = progress.download or self.download
        self._set(State.LOADING, progress)

    def rest(self) -> None:
        """There is no engine, and nobody wants one."""
        self._set(State.UNLOADED, None)

    def want(self) -> None:
        """There is no engine, and one is to be loaded when its turn comes."""
        ending = self.view.progress if self.view.state is State.UNLOADED else None
        self._set(State.LOADING, ending or _TURN)

    def restart(self) -> None:
        """Another engine takes the place of one that died."""
        self._set(State.LOADING, LoadProgress("restarting the engine"))

    def serve(self, engine: Engine) -> None:
        """`engine` is ready for requests."""
        self._engine = engine
        self.is_on_demand = False
        self._settle(State.SERVING, info=engine.info)

    def unload(self) -> None:
        """Takes the engine out of use: in one step, so that no request meets one that ends."""
        self._engine = None
        self.is_on_demand = True
        _logger.info("model_unloaded", model=self.view.model_id)
        self._set(State.UNLOADED, _ENDING)

    def end_engine(self) -> None:
        """The engine is no more, and is about to be closed, which can take seconds."""
        if self._engine is not None:
            self._engine = None
            self._set(State.LOADING, _ENDING)

    @contextmanager
    def failures_recorded(self) -> Generator[None]:
        """Makes a failure of the body the model's state, and its end."""
        try:
            yield
        except ModelLoadFailed as error:
            failure = error.message
            _logger.error(
                "model_failed", model=self.view.model_id, reason=failure, detail=error.detail
            )
        except Exception:
            # The front goes on without the model, and says so wherever it is asked.
            _logger.exception("model_failed", model=self.view.model_id)
            failure = "an internal error; the server's log has the details"
        else:
            return
        self.is_on_demand = False
        self._settle(State.FAILED, failure=failure)

    def _settle(self, state: State, **changes: Any) -> None:
        # Any: fields of the view, each of its own type.
        self.has_settled = True
        self._set(state, None, **changes)
        self._has_news.set()
        self._has_news = asyncio.Event()

    def _set(self, state: State, progress: LoadProgress | None, **changes: Any) -> None:
        self.view = replace(self.view, state=state, progress=progress, **changes)
        self._on_change()
