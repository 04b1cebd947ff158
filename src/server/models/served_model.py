"""One model: fetched, loaded when it is asked for, used, and unloaded while nobody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

import structlog

from ..contract.engine import Engine, EngineStatus
from .admission import Admission
from .engine_keeper import EngineKeeper
from .model_state import ModelView, Prepare, PreparedModel, State
from .readmission import Readmission
from .renders import Renders
from .standing import Standing
from .status_watch import StatusWatch
from .usage import Usage

_logger = structlog.get_logger(__name__)


class ServedModel:
    """One model for the life of the server.

    A lazy model is loaded when a request first asks for it. Any model is unloaded after
    `idle_unload_s` seconds without a request, 0 meaning never, and loaded again by the next one.
    It owns where the model stands, the queue for it, what keeps its engine running, and its use.
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
        hang_s: float = 0.0,
    ) -> None:
        self.model_id = model_id
        self.is_lazy = is_lazy
        self.renders = Renders()
        self.standing = Standing(model_id, is_on_demand=is_lazy, on_change=self._follow)
        self.admission = Admission(max_in_flight, max_queued, self.standing.explain)
        self.readmission = Readmission(model_id, self.standing.explain)
        self.keeper = EngineKeeper(self.standing, stall_s, hang_s)
        self.stall_timer = self.keeper.stall_timer
        self.question_timer = self.keeper.question_timer
        self.status_watch = StatusWatch(self.standing, lambda: not self.admission.num_in_flight)
        self._usage = Usage(self.standing, idle_unload_s, self.keeper.unload)
        self._prepare = prepare
        self._prepared: PreparedModel | None = None
        self._max_in_flight = max_in_flight
        self._on_change = on_change

    @property
    def view(self) -> ModelView:
        """Where the model stands now."""
        return self.standing.view

    @property
    def engine(self) -> Engine:
        """The engine that serves now; `ModelLoading` or `ModelLoadFailed` is raised without one."""
        return self.standing.engine

    @property
    def is_serving(self) -> bool:
        """Whether there is an engine now."""
        return self.standing.is_serving

    @property
    def status(self) -> EngineStatus | None:
        """The engine's own count of its work, a second old at most while requests run.

        None while no engine serves, and where it has not told.
        """
        return self.status_watch.latest

    @property
    def is_available(self) -> bool:
        """Whether requests are taken: by an engine that serves, or by one that they load."""
        is_on_demand = self._prepared is not None and self.standing.is_on_demand
        return self.is_serving or is_on_demand

    @property
    def adapters(self) -> tuple[str, ...]:
        """The LoRA adapters that belong to the model, by name; none before it is prepared."""
        return self._prepared.adapters if self._prepared else ()

    @contextmanager
    def use(self) -> Generator[None]:
        """Keeps the model loaded for the body's time, and asks for its load where it is on demand.

            with model.use():
                async with model.admission.slot(Ticket(max_wait_s=30.0)):  # waits for the load, too
                    prompt = await model.engine.render(...)

        The load goes on when the one who asked for it leaves.
        """
        with self._usage.hold():
            yield

    async def wait_engine(self) -> Engine:
        """Gives the engine, or waits for one that is loaded on demand. The caller bounds the wait.

            with model.use():
                async with asyncio.timeout(60):
                    engine = await model.wait_engine()

        Raises:
            ModelLoading: it is loaded without having been asked for.
            ModelLoadFailed: there will be none.
        """
        if not self.is_serving and not self.standing.is_on_demand:
            raise self.standing.explain()
        return await self.standing.next_engine()

    async def next_engine(self, after: Engine) -> Engine:
        """Waits for the engine that follows `after`, or gives the present one if it is another.

            with model.use():
                async with asyncio.timeout(60):
                    engine = await model.next_engine(after=dead)

        Raises:
            ModelLoadFailed: there will be none.
        """
        return await self.standing.next_engine(after)

    async def prepare(self) -> None:
        """Chooses the engine and brings the files to this machine; a failure becomes the state."""
        with self.standing.failures_recorded():
            self._prepared = await self._prepare(self.model_id, self.standing.report)
            self.standing.record_revision(self._prepared.revision)
            self._usage.record_rest()

    async def run(self, turn: asyncio.Lock) -> None:
        """Keeps an engine running while the model is wanted, until cancelled or given up.

        It needs to be prepared. First loads are made under `turn`, and restarts are not.
        """
        if self._prepared is None:
            return
        with self.standing.failures_recorded():
            while True:
                await self._usage.wait_wanted()
                await self.keeper.run(self._prepared.launcher, turn)
                self._usage.record_rest()

    def _follow(self) -> None:
        """Opens or closes the queue, and starts or stops the idle timer, as the model stands."""
        # First: who had the engine before goes on ahead of those that the queue lets in.
        self.readmission.follow(
            self.engine if self.is_serving else None, has_ended=self.view.state is State.FAILED
        )
        if self.is_serving:
            info = self.engine.info
            # An engine may not know its own number, and say 0.
            max_in_flight = max(1, min(self._max_in_flight, info.max_running))
            self.admission.open(max_in_flight)
            self._usage.idle_timer.start()
            _logger.info(
                "model_serving",
                model=self.model_id,
                engine=info.engine,
                device=info.device,
                context_length=info.context_length,
                max_in_flight=max_in_flight,
                load_s=round(self.keeper.load_s or 0.0, 2),
            )
        else:
            self._usage.idle_timer.stop()
            if self.view.state is State.FAILED:
                self.admission.end()
            else:
                self.admission.close(self.view.progress, is_on_demand=self.standing.is_on_demand)
        self.status_watch.wake()
        self._on_change()
