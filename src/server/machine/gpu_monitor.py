"""What the GPUs of this machine are doing, read once a second beside everything else."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final

from .gpus import GpuReading, OpenGpu, open_gpus

_logger = logging.getLogger(__name__)

INTERVAL_S: Final = 1.0
# A driver that has lost its GPU may not answer at all: the end does not wait for it.
_MAX_END_S: Final = 0.5

Observer = Callable[[tuple[GpuReading, ...]], object]


class GpuMonitor:
    """Reads the visible GPUs once a second, in a thread of its own, while it is entered.

        monitor = GpuMonitor()
        monitor.observe(lambda readings: ...)  # called in that thread
        with monitor:
            monitor.readings                   # from any thread

    Where there is no GPU, or no driver, the thread ends at once, and observers hear nothing.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, interval_s: float = INTERVAL_S
    ) -> None:
        self._environment = environment
        self._interval_s = interval_s
        self._observers: list[Observer] = []
        self._readings: tuple[GpuReading, ...] = ()
        self._is_over = threading.Event()
        # A daemon: a call into the driver that never returns must not keep the process.
        self._thread = threading.Thread(target=self._run, name="gpus", daemon=True)

    @property
    def readings(self) -> tuple[GpuReading, ...]:
        """The last reading of each GPU, in the order that programs see them in.

        Empty before the first one, and where there is no GPU; one that the driver has lost is left
        out.
        """
        return self._readings

    def observe(self, observer: Observer) -> None:
        """Calls `observer` after every reading, in the thread that reads."""
        self._observers.append(observer)

    def __enter__(self) -> GpuMonitor:
        """Begins to read."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the reading."""
        self._is_over.set()
        self._thread.join(_MAX_END_S)

    def _run(self) -> None:
        try:
            with open_gpus(self._environment) as gpus:
                while gpus and not self._is_over.is_set():
                    self._tell(_read_all(gpus))
                    self._is_over.wait(self._interval_s)
        except Exception:  # the service goes on without
            _logger.exception("gpus_unreadable")
            self._tell(())

    def _tell(self, readings: tuple[GpuReading, ...]) -> None:
        if self._is_over.is_set():
            return  # the driver took long, and nobody listens any more
        self._readings = readings
        for observer in self._observers:
            observer(readings)


def _read_all(gpus: Sequence[OpenGpu]) -> tuple[GpuReading, ...]:
    return tuple(reading for each in gpus if (reading := each.read()) is not None)
