"""One model: fetched, loaded, watched, restarted, and unloaded while nobody asks for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import structlog

from ...restart_backoff import RestartBackoff
from ..contract.engine import Engine
from ..contract.errors import AtCapacity, ModelLoadFailed, ModelLoading
from ..contract.load_progress import Download, LoadProgress
from .admission import Admission
from .engine_end import EngineEnd
from .idle_timer import IdleTimer
from .model_state import ModelView, Prepare, PreparedModel, State
from .renders import Renders
from .stall_timer import StallTimer

_logger = structlog.get_logger(__name__)

_TURN = LoadProgress("waiting for its turn to load")
_ENDING = LoadProgress("ending the engine")
# Why an engine ended that nobody used: no death, and no reason for another.
_UNLOADED = ""
# Waits before the first, second, … restart of an engine that keeps dying.
_RESTART_DELAYS_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)

OnLoading = Callable[[LoadProgress], None]


class ServedModel:
    """One model for the life of the server.

    A lazy model is loaded when a request first asks for it. Any model is unloaded after
    `idle_unload_s` seconds without a request, 0 meaning never, and loaded again by the next one. An
    engine that gives no sign of running requests for `stall_s` seconds, 0 meaning any time, is
    taken for dead.
    """

    def __init__(
        self,
        model_id: str,
        prepare: Prepare,
        *,
        max_in_flight: int,
        max_queued: int,
        on_change: Callable[[], None],
        is_lazy: bool = False,
        idle_unload_s: float = 0.0,
        stall_s: float = 0.0,
    ) -> None:
        self.model_id = model_id
        self.is_lazy = is_lazy
        self.admission = Admission(max_in_flight, max_queued)
        self.renders = Renders()
        self.num_restarts = 0
        self.num_waiting = 0
        self.load_s: float | None = None
        self.has_settled = False  # it has served or failed once
        # The last one, which may be of a tokenizer or an adapter; zeros: nothing was fetched.
        self.download = Download()
        self._prepare = prepare
        self._prepared: PreparedModel | None = None
        self._max_in_flight = max_in_flight
        self._max_waiting = max_in_flight + max_queued
        self._on_change = on_change
        self._changed = asyncio.Event()
        # Where the model stands now.
        self.view = ModelView(model_id, "", State.LOADING, LoadProgress("waiting"), "", None)
        self._engine: Engine | None = None
        self._idle_timer = IdleTimer(idle_unload_s, self._unload)
        self._stall_s = stall_s
        self.stall_timer = StallTimer(stall_s, self._stall)
        self._end = EngineEnd()
        # The next load is one that requests ask for, and they wait for it. Where the server loads
        # by itself, at its start and after a death, requests are refused meanwhile.
        self._is_on_demand = is_lazy
        self._is_wanted = asyncio.Event()
        if not is_lazy:
            self._is_wanted.set()

    @property
    def adapters(self) -> tuple[str, ...]:
        """The LoRA adapters that belong to the model, by name; none before it is prepared."""
        return self._prepared.adapters if self._prepared else ()

    @property
    def is_available(self) -> bool:
        """Whether requests are taken: by an engine that serves, or by one that they load."""
        is_serving = self.view.state is State.SERVING
        return is_serving or (self._prepared is not None and self._is_on_demand)

    @property
    def engine(self) -> Engine:
        """The engine that serves now.

        Raises:
            ModelLoading: there is none yet, or it is being replaced.
            ModelLoadFailed: there will be none.
        """
        if self._engine is not None:
            return self._engine
        view = self.view
        if view.state is State.FAILED:
            raise ModelLoadFailed(f"model '{self.model_id}' failed to load: {view.failure}")
        step = f" ({view.progress.text})" if view.progress else ""
        raise ModelLoading(f"model '{self.model_id}' is loading{step}")

    @asynccontextmanager
    async def use(
        self, max_wait_s: float, on_loading: OnLoading | None = None
    ) -> AsyncGenerator[float]:
        """Keeps the model loaded for the body's time, and gives the seconds waited for its load.

            async with model.use(max_wait_s=30.0) as waited_s:
                prompt = await model.engine.render(...)
                async with model.admission.slot(30.0 - waited_s): ...

        An unloaded model is loaded. The load goes on when the one who waits for it leaves.
        `on_loading` is called with the steps of the load, first and on every change.

        Raises:
            ModelLoading: it is not loaded within `max_wait_s`, or loads without having been asked.
            ModelLoadFailed: it cannot be loaded.
            AtCapacity: as many requests wait for the load as may run and queue at once.
        """
        with self._idle_timer.hold():
            waited_s = 0.0
            if self._engine is None and self._is_on_demand:
                waited_s = await self._load(max_wait_s, on_loading)
            _ = self.engine  # or what stands in its way
            yield waited_s

    async def prepare(self) -> None:
        """Chooses the engine and brings the files to this machine; a failure becomes the state."""
        with self._failures_recorded():
            self._prepared = await self._prepare(self.model_id, self._report)
            self.view = replace(self.view, revision=self._prepared.revision)
            self._rest_until_wanted()

    async def run(self, turn: asyncio.Lock) -> None:
        """Keeps an engine running while the model is wanted, until cancelled or given up.

        It needs to be prepared. First loads are made under `turn`, and restarts are not.
        """
        if self._prepared is None:
            return
        with self._failures_recorded():
            while True:
                await self._is_wanted.wait()  # ended by a request
                await self._keep_running(self._prepared, turn)
                self._rest_until_wanted()

    async def _load(self, max_wait_s: float, on_loading: OnLoading | None) -> float:
        """Asks for the load and waits for it; returns how long, in seconds."""
        if not self._is_wanted.is_set():
            self._is_wanted.set()
            _logger.info("model_wanted", model=self.model_id)
            if self.view.state is State.UNLOADED:
                self._set(State.LOADING, self.view.progress or _TURN)
        if self.num_waiting >= self._max_waiting:
            raise AtCapacity(
                f"model '{self.model_id}' is loading, and at most {self._max_waiting} may wait",
                metadata={"limit": str(self._max_waiting), "actual": str(self.num_waiting)},
            )
        start_s = time.monotonic()
        self.num_waiting += 1
        try:
            async with asyncio.timeout(max_wait_s):
                while self._engine is None and self._is_on_demand:
                    if on_loading is not None and self.view.progress is not None:
                        on_loading(self.view.progress)
                    await self._changed.wait()
        except TimeoutError:
            pass  # `engine` raises that it is still loading
        finally:
            self.num_waiting -= 1
        return time.monotonic() - start_s

    async def _keep_running(self, prepared: PreparedModel, turn: asyncio.Lock) -> None:
        """Runs engines one after another, until one is unloaded."""
        backoff = RestartBackoff(_RESTART_DELAYS_S)
        order: asyncio.Lock | None = turn
        while True:
            lived_s, reason = await self._run_once(prepared, order)
            if reason == _UNLOADED:
                return
            delay_s = backoff.next_delay_s(lived_s)
            if delay_s is None:
                message = f"its engine died {backoff.num_deaths} times in a row"
                raise ModelLoadFailed(f"{message}; the server's log says why", detail=reason)
            self.num_restarts += 1
            _logger.error("engine_lost", model=self.model_id, reason=reason, restart_in_s=delay_s)
            self._set(State.LOADING, LoadProgress("restarting the engine"))
            await asyncio.sleep(delay_s)
            order = None

    async def _run_once(
        self, prepared: PreparedModel, turn: asyncio.Lock | None
    ) -> tuple[float, str]:
        """Runs one engine; returns how long it served, and why it ended."""
        async with turn or nullcontext():
            start_s = time.monotonic()
            try:
                engine = await prepared.launcher.launch(self._report)
            except ModelLoadFailed as error:
                if self.view.info is None:
                    raise  # never loaded: another try would end the same
                # It was loaded before, so what is wrong may pass, such as a lack of memory.
                return 0.0, f"{error.message} {error.detail}".rstrip()
        serving_since_s = time.monotonic()
        self.load_s = serving_since_s - start_s
        self._end = EngineEnd()
        try:
            self._serve(engine)
            reason = await self._end.wait(engine)
        finally:
            lived_s = time.monotonic() - serving_since_s
            self._engine = None
            self._idle_timer.stop()
            if self.view.state is State.SERVING:
                # Before the engine is closed, which can take seconds.
                self._set(State.LOADING, _ENDING)
            await engine.close()
        return lived_s, reason

    def _serve(self, engine: Engine) -> None:
        self._engine = engine
        self._is_on_demand = False
        self.stall_timer.record_sign()
        max_in_flight = min(self._max_in_flight, engine.info.max_running)
        self.admission.resize(max_in_flight)
        self.has_settled = True
        self._set(State.SERVING, None, info=engine.info)
        self._idle_timer.start()
        _logger.info(
            "model_serving",
            model=self.model_id,
            engine=engine.info.engine,
            device=engine.info.device,
            context_length=engine.info.context_length,
            max_in_flight=max_in_flight,
            load_s=round(self.load_s or 0.0, 2),
        )

    def _unload(self) -> None:
        """Takes the engine out of use: in one step, so that no request meets one that ends."""
        self._engine = None
        self._is_on_demand = True
        self._is_wanted.clear()
        self._end.order(_UNLOADED)
        _logger.info("model_unloaded", model=self.model_id)
        self._set(State.UNLOADED, _ENDING)

    def _stall(self) -> None:
        self._end.order(f"it gave no sign of its running requests for {self._stall_s:g} s")

    def _rest_until_wanted(self) -> None:
        if self._is_wanted.is_set():
            self._set(State.LOADING, _TURN)
        else:
            self._set(State.UNLOADED, None)

    @contextmanager
    def _failures_recorded(self) -> Generator[None]:
        try:
            yield
        except ModelLoadFailed as error:
            _logger.error(
                "model_failed", model=self.model_id, reason=error.message, detail=error.detail
            )
            failure = error.message
        except Exception:
            # The front goes on without the model, and says so wherever it is asked.
            _logger.exception("model_failed", model=self.model_id)
            failure = "an internal error; the server's log has the details"
        else:
            return
        self._is_on_demand = False
        self.has_settled = True
        self._set(State.FAILED, None, failure=failure)

    def _report(self, progress: LoadProgress) -> None:
        if self.view.progress is None or progress.step != self.view.progress.step:
            _logger.info("model_loading", model=self.model_id, step=progress.step)
        self.download = progress.download or self.download
        self._set(State.LOADING, progress)

    def _set(self, state: State, progress: LoadProgress | None, **changes: Any) -> None:
        # Any: fields of the view, each of its own type.
        self.view = replace(self.view, state=state, progress=progress, **changes)
        self._changed.set()
        self._changed = asyncio.Event()
        self._on_change()
