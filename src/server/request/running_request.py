"""A request while it runs, and all that do."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

import structlog

from ..contract.errors import Draining, InferenceError
from .calls import INTERNAL, Call, CallFailed, CallFinished, CallOutcome
from .clock import Clock
from .ended_request import EndedRequest, Observer
from .inference import Inference
from .log.log_reader import LogReader
from .log.request_log import RequestLog

_End = tuple[CallOutcome, BaseException | None]
"""How a request ended, and what readers get that have read all of it."""

_logger = structlog.get_logger(__name__)


class RequestBroke(Exception):
    """A request ended by a fault of ours, which the log has in full."""


class RunningRequest:
    """One request from its arrival to its end, in a task of its own.

    It belongs to no call: readers of its `log` come and go, and whoever wants its end says so.

        running = requests.start(call)
        with requests.read(running.log) as reader:
            ...                          # batches, until there is none
        running.cancel(CallAborted())    # does nothing where it has ended
    """

    def __init__(
        self,
        call: Call,
        inference: Inference,
        observers: tuple[Observer, ...],
        log: RequestLog | None = None,
    ) -> None:
        self.call = call
        self.log = log or RequestLog()
        self.outcome: CallOutcome | None = None
        self._observers = observers
        self._clock = Clock()
        self._ordered: _End | None = None
        name = f"request {call.context.request_id}"
        # The call's own coroutine, with none of ours around it: each token goes through all.
        running = inference.run(call, self.log.append, self._clock)
        self.task = asyncio.create_task(running, name=name)
        self.task.add_done_callback(self._end)

    def cancel(self, outcome: CallOutcome, error: BaseException | None = None) -> None:
        """Ends the request: gives up its place in the queue, or aborts it in the engine.

        Readers that are left get `error`. The first call counts.
        """
        if self._ordered is None and not self.task.done():
            self._ordered = outcome, error or asyncio.CancelledError()
            self.task.cancel()

    def _end_of(self, task: asyncio.Task[CallFinished]) -> _End:
        try:
            return task.result(), None
        except InferenceError as error:
            # Its frames have the whole prompt, and would keep it for as long as the task is kept.
            return CallFailed(error.reason, error.detail), error.with_traceback(None)
        except asyncio.CancelledError:
            if self._ordered is not None:
                return self._ordered
            _logger.exception("call_failed", model=self.call.model_id)
            return CallFailed(INTERNAL), RequestBroke("it was cancelled from inside")
        except Exception as error:
            _logger.exception("call_failed", model=self.call.model_id)
            error.__traceback__ = None  # as above
            return CallFailed(INTERNAL), RequestBroke()

    def _end(self, task: asyncio.Task[CallFinished]) -> None:
        # In a callback of the task: one that is cancelled before its first step never runs.
        self.outcome, error = self._end_of(task)
        ended = EndedRequest(
            call=self.call,
            outcome=self.outcome,
            timeline=self._clock.stop(),
            num_prompt_tokens=self._clock.num_prompt_tokens,
            started=self.log.started,
            num_completion_tokens=self.log.num_tokens,
            token_gaps=self._clock.token_gaps,
            pauses=tuple(self._clock.pauses),
            num_resumes=max(0, self.log.num_reads - 1),
        )
        for observe in self._observers:
            try:
                observe(ended)
            except Exception:  # the request and the other observers go on
                _logger.exception("observer_failed", model=self.call.model_id)
        # Last of all: its slot is free and its key's place, for who asks again when he reads this.
        if isinstance(self.outcome, CallFinished):
            self.log.append(self.outcome)
        self.log.close(error)


class RunningRequests:
    """All requests that run, and whoever reads one. Whoever closes it waits for their ends."""

    def __init__(self, inference: Inference, *observers: Observer) -> None:
        self._inference = inference
        self._observers = observers
        self._running: set[RunningRequest] = set()
        self._readers: set[LogReader] = set()
        self._num_short = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._is_draining = False

    def start(self, call: Call, log: RequestLog | None = None) -> RunningRequest:
        """Starts a request; it writes into `log`, or into one of its own.

        Raises:
            Draining: nothing new is taken any more.
        """
        self.check_open()
        running = RunningRequest(call, self._inference, self._observers, log)
        self._running.add(running)
        self._is_idle.clear()
        running.task.add_done_callback(lambda _: self._discard(running))
        return running

    @contextmanager
    def read(self, log: RequestLog, after: int = 0) -> Generator[LogReader]:
        """Reads a request to a caller, who is waited for as the request is.

        Raises:
            ResumeExpired: what comes behind the position `after` is not kept any more.
        """
        with log.read(after) as reader:
            self._readers.add(reader)
            self._is_idle.clear()
            try:
                yield reader
            finally:
                self._readers.discard(reader)
                self._set_idle()

    @contextmanager
    def short(self) -> Generator[None]:
        """Counts a call that generates nothing among those that are waited for.

        Raises:
            Draining: nothing new is taken any more.
        """
        self.check_open()
        self._num_short += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._num_short -= 1
            self._set_idle()

    def check_open(self) -> None:
        """Raises `Draining` where nothing new is taken any more."""
        if self._is_draining:
            raise Draining("the server is draining")

    def refuse_new(self) -> None:
        """Answers every new request with DRAINING from now on."""
        self._is_draining = True

    async def wait_idle(self) -> None:
        """Returns once no request runs and none is read."""
        await self._is_idle.wait()

    def end_all(self) -> None:
        """Ends every request that runs with DRAINING."""
        error = Draining("the server shut down before the answer was complete")
        for running in self._running:
            running.cancel(CallFailed(error.reason), error)

    async def close(self) -> None:
        """Ends every request, and returns once their engines have let go of them."""
        self.refuse_new()
        self.end_all()
        await asyncio.gather(*(running.task for running in self._running), return_exceptions=True)

    def _discard(self, running: RunningRequest) -> None:
        self._running.discard(running)
        self._set_idle()

    def _set_idle(self) -> None:
        if not self._running and not self._readers and not self._num_short:
            self._is_idle.set()
