"""The reading of GPUs beside everything else, with a scripted driver in the place of NVML."""

from __future__ import annotations

import logging
import queue
import threading

import pynvml
import pytest
from tokenwire.server.machine.gpu_monitor import GpuMonitor
from tokenwire.server.machine.gpus import Gpu, GpuReading

from .nvml import ScriptedDriver, answer_as

GIB = 1 << 30
H100 = Gpu("0", "NVIDIA H100 80GB HBM3", 80 * GIB, 70 * GIB)
H200 = Gpu("1", "NVIDIA H200", 141 * GIB, 131 * GIB)

Told = queue.Queue[tuple[GpuReading, ...]]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> ScriptedDriver:
    """A machine with an H100 and an H200."""
    return answer_as(monkeypatch, [H100, H200], {})


def _monitor(told: Told, environment: dict[str, str] | None = None) -> GpuMonitor:
    monitor = GpuMonitor(environment or {}, interval_s=0.001)
    monitor.observe(told.put)
    return monitor


def _wait_for(told: Told, *readings: GpuReading) -> None:
    while told.get(timeout=60) != readings:
        pass


def test_memory_and_utilization_of_each(driver: ScriptedDriver) -> None:
    """Each visible GPU is read: its memory, and how busy it is where the driver tells that."""
    driver.utilizations[0] = 37
    told = Told()
    with _monitor(told) as monitor:
        readings = told.get(timeout=60)
        assert monitor.readings == readings
    assert readings == (
        GpuReading("0", 80 * GIB, 10 * GIB, 37.0),
        GpuReading("1", 141 * GIB, 10 * GIB, None),
    )
    assert [reading.used_percent for reading in readings] == [12.5, 100 * 10 / 141]


def test_a_change_is_seen(driver: ScriptedDriver) -> None:
    """It reads again and again, with the driver opened once, and closes it behind itself."""
    told = Told()
    with _monitor(told, {"CUDA_VISIBLE_DEVICES": "0"}):
        _wait_for(told, GpuReading("0", 80 * GIB, 10 * GIB))
        driver.fill(0, 2 * GIB)
        _wait_for(told, GpuReading("0", 80 * GIB, 78 * GIB))
        assert driver.num_open == 1
    assert driver.num_open == 0


def test_a_lost_gpu_is_left_out(driver: ScriptedDriver) -> None:
    """A GPU that the driver loses leaves the readings, and the others are still read."""
    told = Told()
    with _monitor(told):
        driver.lost.add(0)
        _wait_for(told, GpuReading("1", 141 * GIB, 10 * GIB))


def test_no_driver_no_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without NVML the thread ends by itself, and nothing is told."""

    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    told = Told()
    with _monitor(told) as monitor:
        _join("gpus")
        assert monitor.readings == ()
    assert told.empty()


@pytest.mark.usefixtures("driver")
def test_hidden_gpus_are_not_read() -> None:
    """With CUDA_VISIBLE_DEVICES empty there is nothing to read."""
    told = Told()
    with _monitor(told, {"CUDA_VISIBLE_DEVICES": ""}):
        _join("gpus")
    assert told.empty()


def test_what_nobody_foresaw_ends_the_readings(
    driver: ScriptedDriver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault in the reading is logged, and leaves no old numbers behind."""
    told = Told()
    with _monitor(told) as monitor:
        told.get(timeout=60)
        monkeypatch.setattr(driver, "lost", None)  # `in None` raises
        with caplog.at_level(logging.ERROR):
            _wait_for(told)
        assert monitor.readings == ()
    assert [record.message for record in caplog.records] == ["gpus_unreadable"]


def test_a_driver_that_hangs_does_not_hold_the_end(driver: ScriptedDriver) -> None:
    """The end comes while a reading hangs, and what the reading brings later is told to nobody."""
    told = Told()
    with _monitor(told):
        told.get(timeout=60)
        driver.answers.clear()
        assert driver.hangs.wait(10)
    while not told.empty():
        told.get()
    driver.answers.set()
    _join("gpus")
    assert told.empty()


def _join(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(10)
            assert not thread.is_alive()
