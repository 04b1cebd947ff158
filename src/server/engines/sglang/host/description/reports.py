"""What the running SGLang tells of itself when the front asks."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from .....contract.engine import EngineStatus
from ...messages import (
    AskMetrics,
    AskStatus,
    AskSteps,
    Broken,
    MetricsReported,
    StatusReported,
    StepsReported,
)
from .model_info import count_step_tokens, read_series
from .steps import StepCounter

_logger = logging.getLogger(__name__)


class Reports:
    """Answers questions about the engine of a `TokenizerManager`."""

    def __init__(self, manager: Any) -> None:  # SGLang has no types
        self._manager = manager
        self._steps = StepCounter(count_step_tokens(manager.server_args))

    async def answer(
        self, question: AskStatus | AskSteps | AskMetrics
    ) -> StatusReported | StepsReported | MetricsReported | Broken:
        """Answers one question, with `Broken` where SGLang fails to."""
        query_id = question.query_id
        try:
            match question:
                case AskStatus():
                    return StatusReported(query_id, await self._status())
                case AskSteps():
                    # Before the loads: what arrives meanwhile belongs to the next look.
                    received = self._manager.last_receive_tstamp
                    loads = await self._manager.get_loads()
                    return StepsReported(query_id, self._steps.count(loads, received))
                case AskMetrics():
                    # A thread of its own: it reads a file of each process, beside no prompt.
                    return MetricsReported(query_id, await asyncio.to_thread(read_series))
        except Exception:
            _logger.exception("report_failed", extra={"question": type(question).__name__})
            return Broken(query_id, "the engine could not tell of itself")

    async def _status(self) -> EngineStatus:
        loads = await self._manager.get_loads()
        # The snapshot is written behind the answers of its step: a request that the
        # scheduler has answered for the last time is not running, whatever it says.
        num_running = sum(load.num_running_reqs for load in loads)
        return EngineStatus(
            num_running=min(num_running, len(self._manager.rid_to_state)),
            num_queued=sum(load.num_waiting_reqs for load in loads),
            kv_usage=max((load.token_usage for load in loads), default=None),
        )
