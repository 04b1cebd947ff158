"""Everything that the front's page of metrics shows."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import PlatformCollector, ProcessCollector

from ....metrics.process import register_process
from ....metrics.readings import MetricReadings, Numbers, new_registry
from ...machine.gpus import GpuReading
from ...models.models import Models
from .engine_metrics import EngineMetrics
from .grpc_metrics import CallLabels, GrpcMetrics
from .model_metrics import register_models
from .request_metrics import RequestMetrics


class DrainStage(enum.Enum):
    """How far the server's end is."""

    SERVING = 0
    LEAVING = 1
    """Not ready any more, and still taking requests until load balancers have noticed."""
    REFUSING = 2


class FrontMetrics:
    """The registry of the front, with all that counts into it.

    metrics = FrontMetrics(models, methods, lambda: gpus.readings, ...)
    RunningRequests(inference, metrics.requests.record)
    """

    def __init__(
        self,
        models: Models,
        methods: Iterable[CallLabels],
        gpus: Callable[[], Sequence[GpuReading]],
        num_spans_dropped: Callable[[], int],
        num_lines_dropped: Callable[[], int],
    ) -> None:
        self.drain_stage = DrainStage.SERVING
        self.registry = new_registry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.grpc = GrpcMetrics(self.registry, methods)
        model_ids = [model.model_id for model in models]
        self.requests = RequestMetrics(self.registry, [*model_ids, *models.adapters])
        self.readings = MetricReadings(self.registry)
        register_process(self.readings, "front", num_spans_dropped, num_lines_dropped)
        self._register(gpus)
        register_models(self.readings, models)
        # Last: it waits for the engines, and the other numbers should be as old as theirs.
        self.engines = EngineMetrics(self.registry, models)

    def _register(self, gpus: Callable[[], Sequence[GpuReading]]) -> None:
        gauge = self.readings.gauge
        gauge(
            "llm_drain_state",
            "0 while requests are taken, 1 while the server is not ready and takes them, 2 behind.",
            (),
            lambda: {(): float(self.drain_stage.value)},
        )
        for name, help_text, read in _OF_GPUS:
            gauge(name, help_text, ("device",), _of_each(gpus, read))


_OF_GPUS: tuple[tuple[str, str, Callable[[GpuReading], float | None]], ...] = (
    ("gpu_memory_used_bytes", "Memory of the GPU in use.", lambda gpu: gpu.used_bytes),
    ("gpu_memory_total_bytes", "Memory of the GPU.", lambda gpu: gpu.total_bytes),
    (
        "gpu_utilization_percent",
        "Part of the last moment in which the GPU computed.",
        lambda gpu: gpu.utilization_percent,
    ),
    (
        "gpu_memory_utilization_percent",
        "Part of the GPU's memory in use.",
        lambda gpu: gpu.used_percent,
    ),
)


def _of_each(
    gpus: Callable[[], Sequence[GpuReading]], read: Callable[[GpuReading], float | None]
) -> Callable[[], Numbers]:
    return lambda: {(gpu.gpu_id,): number for gpu in gpus() if (number := read(gpu)) is not None}
