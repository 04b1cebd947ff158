"""The series of the engines themselves, and what they tell of their KV cache."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ...contract.engine import Engine
from ...contract.errors import InferenceError
from ...models.served_model import ServedModel
from .engine_families import label_families, parse_families

_logger = structlog.get_logger(__name__)

# Of the second that the edge gives the front; twice, where two scrapes come together.
_ENGINE_S: Final = 0.3
_LOOP_S: Final = 0.4


@dataclass(slots=True)
class _Reading:
    """What one engine said last. `is_fresh`: at this scrape, and not before."""

    engine: Engine
    families: list[Metric]
    kv_usage: float = 0.0
    is_fresh: bool = False


class EngineMetrics(Collector):
    """Asks the engines when it is scraped; what a slow one said before stands in for it.

    Scrapes run in threads of their own, and engines are asked in the loop of the server, between
    `attach` and `detach`. Neither waits for an engine longer than half a second.
    """

    def __init__(self, registry: CollectorRegistry, models: Iterable[ServedModel]) -> None:
        self._models = list(models)
        self._readings: dict[str, _Reading] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._read_at_s = 0.0
        registry.register(self)

    def attach(self) -> None:
        """Asks engines from now on, in the running loop."""
        self._loop = asyncio.get_running_loop()

    def detach(self) -> None:
        """Asks no engine any more."""
        self._loop = None

    def collect(self) -> Iterable[Metric]:
        """Returns what the engines say."""
        arrived_s = time.monotonic()
        with self._lock:
            if self._read_at_s < arrived_s:  # not while this scrape waited for another one
                self._read_at_s = time.monotonic()
                self._read()
            readings = dict(self._readings)
        up = GaugeMetricFamily(
            "llm_engine_metrics_up",
            "1 where the engine's own series are of this scrape, 0 where they are old or missing.",
            labels=("model",),
        )
        usage = GaugeMetricFamily(
            "llm_kv_cache_usage_ratio",
            "Part of the KV cache that running requests hold; 0 where no engine tells it.",
            labels=("model",),
        )
        for model in self._models:
            reading = readings.get(model.model_id)
            up.add_metric((model.model_id,), float(reading is not None and reading.is_fresh))
            usage.add_metric((model.model_id,), reading.kv_usage if reading else 0.0)
        yield up
        yield usage
        yield from label_families(
            {model_id: reading.families for model_id, reading in readings.items()}
        )

    def _read(self) -> None:
        for reading in self._readings.values():
            reading.is_fresh = False
        loop = self._loop
        if loop is None:
            self._readings = {}
            return
        asking = asyncio.run_coroutine_threadsafe(self._ask_all(), loop)
        try:
            answers = asking.result(_LOOP_S)
        except (FutureTimeoutError, asyncio.CancelledError):
            asking.cancel()  # the loop is busy, or ends
            return
        for reading, page in answers:
            try:
                reading.families = parse_families(page)
            except (ValueError, LookupError) as error:  # the other series go on
                _logger.warning("engine_metrics_unreadable", error=str(error))
            else:
                reading.is_fresh = True

    async def _ask_all(self) -> list[tuple[_Reading, str]]:
        """Asks every engine at once; returns the pages of those that answered in time."""
        serving = [model for model in self._models if model.is_serving]
        readings = {model.model_id: self._reading_of(model) for model in serving}
        self._readings = readings
        pages = await asyncio.gather(*map(_ask, readings.values()))
        named = zip(readings.values(), pages, strict=True)
        return [(reading, page) for reading, page in named if page is not None]

    def _reading_of(self, model: ServedModel) -> _Reading:
        """Returns what the model's engine said last: another engine counts anew."""
        known = self._readings.get(model.model_id)
        is_same = known is not None and known.engine is model.engine
        return known if known is not None and is_same else _Reading(model.engine, [])


async def _ask(reading: _Reading) -> str | None:
    try:
        async with asyncio.timeout(_ENGINE_S):
            status, page = await asyncio.gather(
                reading.engine.status(), reading.engine.read_metrics()
            )
    except (TimeoutError, InferenceError) as error:
        _logger.debug("engine_metrics_late", error=type(error).__name__)
        return None
    reading.kv_usage = status.kv_usage or 0.0
    return page
