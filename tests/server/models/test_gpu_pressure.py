"""Which models are refused at which readings of the GPUs."""

from __future__ import annotations

import asyncio
from functools import partial

import grpc
import pytest
from tokenwire.server import app
from tokenwire.server.contract.errors import GpuMemoryFull, InferenceError
from tokenwire.server.contract.load_progress import LoadProgress
from tokenwire.server.machine.gpu_monitor import GpuMonitor
from tokenwire.server.machine.gpus import Gpu, GpuReading
from tokenwire.server.models.gpu_pressure import GpuPressure
from tokenwire.server.models.served_model import ServedModel
from tokenwire.server.models.ticket import Ticket

from ..fronts import collect, failure_of, scrape, start_front
from ..machine.nvml import answer_as
from ..scripted_engine import ScriptedEngine, ScriptedLauncher

GIB = 1 << 30


def _model(name: str) -> ServedModel:
    return ServedModel(
        name, ScriptedLauncher().prepare, max_in_flight=2, max_queued=2, on_change=lambda: None
    )


async def _serve(
    model: ServedModel,
    *gpu_ids: str,
    pool_gib: int | None = 0,
    kv_usage: float | None = 0.0,
) -> ScriptedEngine:
    engine = ScriptedEngine(
        gpu_ids=gpu_ids, kv_pool_bytes=None if pool_gib is None else pool_gib * GIB
    )
    engine.kv_usage = kv_usage
    model.standing.serve(engine)
    await model.status_watch.ask()
    return engine


def _used(percent: float, gpu_id: str = "0") -> GpuReading:
    return GpuReading(gpu_id, 100 * GIB, int(percent * GIB))


async def _refusal(model: ServedModel) -> InferenceError | None:
    """What a request hears that would run at once."""
    try:
        async with model.admission.slot(Ticket(0)):
            return None
    except InferenceError as error:
        return error


@pytest.mark.parametrize(
    ("used_percent", "pool_gib", "kv_usage", "told"),
    [
        (95.0, 0, 0.0, None),  # above, not at
        (95.5, 0, 0.0, "GPU memory use is 95.5 %, the limit is 95.0 %"),
        (98.0, 80, 0.0, None),  # 18 are in use
        (98.0, 80, 0.9, None),  # 90
        (98.0, 80, 1.0, "GPU memory use is 98.0 %, the limit is 95.0 %"),
        (99.0, 80, 0.975, "GPU memory use is 97.0 %, the limit is 95.0 %"),
        (95.0, 80, 1.1, None),  # no pool is fuller than full
    ],
)
async def test_the_free_part_of_the_own_pool_is_free(
    used_percent: float, pool_gib: int, kv_usage: float, told: str | None
) -> None:
    """Memory in use is what NVML says, less what is free in the KV pool of the engine."""
    model = _model("a/a")
    await _serve(model, "0", pool_gib=pool_gib, kv_usage=kv_usage)
    GpuPressure([model], 95.0).update([_used(used_percent)])
    refusal = await _refusal(model)
    assert (refusal.message if refusal else None) == told


async def test_it_ends_when_memory_becomes_free() -> None:
    """Requests are taken again at the first reading that is not above the limit."""
    model = _model("a/a")
    await _serve(model, "0")
    pressure = GpuPressure([model], 90.0)
    pressure.update([_used(91)])
    assert isinstance(await _refusal(model), GpuMemoryFull)
    pressure.update([_used(90)])
    assert await _refusal(model) is None


async def test_lost_readings_refuse_nobody() -> None:
    """A GPU that is not read any more is not judged."""
    model = _model("a/a")
    await _serve(model, "0")
    pressure = GpuPressure([model], 90.0)
    pressure.update([_used(91)])
    pressure.update([])
    assert await _refusal(model) is None


async def test_models_on_other_devices_are_taken() -> None:
    """Only who runs on the full GPU is refused, on several GPUs by the fullest."""
    on_both, on_second, on_cpu = _model("a/both"), _model("a/second"), _model("a/cpu")
    await _serve(on_both, "0", "1")
    await _serve(on_second, "1")
    await _serve(on_cpu)
    GpuPressure([on_both, on_second, on_cpu], 90.0).update([_used(95), _used(50, "1")])
    refusal = await _refusal(on_both)
    assert refusal is not None
    assert refusal.metadata == {"limit": "90.0", "actual": "95.0"}
    assert await _refusal(on_second) is None
    assert await _refusal(on_cpu) is None


async def test_pools_of_all_models_on_a_gpu_count() -> None:
    """Two models share a GPU: what is free in either pool is free."""
    first, second = _model("a/first"), _model("a/second")
    await _serve(first, "0", pool_gib=30, kv_usage=0.5)
    await _serve(second, "0", pool_gib=40, kv_usage=0.75)
    pressure = GpuPressure([first, second], 70.0)
    pressure.update([_used(95)])  # less 15 and 10
    assert await _refusal(first) is None
    pressure.update([_used(96)])
    for model in (first, second):
        refusal = await _refusal(model)
        assert refusal is not None
        assert refusal.metadata["actual"] == "71.0"


@pytest.mark.parametrize(("pool_gib", "kv_usage"), [(None, 0.0), (80, None)])
async def test_a_gpu_with_an_unknown_pool_is_not_judged(
    pool_gib: int | None, kv_usage: float | None
) -> None:
    """Where an engine tells neither pool nor use, what looks full may be its empty pool."""
    silent, other = _model("a/silent"), _model("a/other")
    await _serve(silent, "0", pool_gib=pool_gib, kv_usage=kv_usage)
    await _serve(other, "0")
    GpuPressure([silent, other], 90.0).update([_used(99)])
    assert await _refusal(silent) is None
    assert await _refusal(other) is None


async def test_a_gpu_is_not_judged_while_an_engine_starts_or_ends() -> None:
    """An engine that loads has reserved a pool that nobody knows: others there are taken."""
    serving, other = _model("a/serving"), _model("a/other")
    await _serve(serving, "0")
    pressure = GpuPressure([serving, other], 90.0)
    pressure.update([_used(99)])
    assert await _refusal(serving) is None  # where the other one loads is not known yet
    await _serve(other, "1")
    pressure.update([_used(99)])
    assert isinstance(await _refusal(serving), GpuMemoryFull)
    other.standing.restart()  # on the other GPU
    pressure.update([_used(99)])
    assert isinstance(await _refusal(serving), GpuMemoryFull)
    await _serve(other, "0")
    other.standing.unload()  # its memory is not free yet
    pressure.update([_used(99)])
    assert await _refusal(serving) is None
    other.standing.rest()
    pressure.update([_used(99)])
    assert isinstance(await _refusal(serving), GpuMemoryFull)


async def test_a_model_that_is_loading_says_so() -> None:
    """Where no engine serves, the reason is that, and not the memory."""
    model = _model("a/a")
    await _serve(model, "0")
    pressure = GpuPressure([model], 90.0)
    pressure.update([_used(99)])
    model.standing.report(LoadProgress("reading the weights"))
    model.standing.end_engine()
    refusal = await _refusal(model)
    assert refusal is not None
    assert refusal.reason == "MODEL_LOADING"


def _told(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[None]:
    """Each update of the pressure, once it is done."""
    updates = asyncio.Queue[None]()
    update = GpuPressure.update

    def update_and_tell(self: GpuPressure, readings: tuple[GpuReading, ...]) -> None:
        update(self, readings)
        updates.put_nowait(None)

    monkeypatch.setattr(GpuPressure, "update", update_and_tell)
    return updates


async def _read_anew(updates: asyncio.Queue[None]) -> None:
    """Waits for a reading that begins after this: the first to come may have begun before."""
    while not updates.empty():
        updates.get_nowait()
    for _ in range(2):
        await updates.get()


async def test_a_front_on_a_full_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call on a full GPU is UNAVAILABLE with the numbers and when to try again, and is counted.

    What runs goes on, and calls are served again once the memory is free.
    """
    monkeypatch.setattr(app, "GpuMonitor", partial(GpuMonitor, interval_s=0.01))
    driver = answer_as(monkeypatch, [Gpu("0", "NVIDIA H100", 100 * GIB, 3 * GIB)], {})
    engine = ScriptedEngine(gpu_ids=("0",), kv_pool_bytes=80 * GIB)
    engine.kv_usage = 0.0
    updates = _told(monkeypatch)
    prepare = ScriptedLauncher(engine).prepare
    async with start_front(prepare, GPU_PRESSURE_THRESHOLD="90") as client:
        request = client.chat("go")
        request.sampling.max_tokens = 1
        running = client.inference.Chat(request)
        await engine.wait_until(running=1)
        model = next(iter(client.app.models))
        engine.kv_usage = 1.0
        await model.status_watch.ask()
        await _read_anew(updates)
        failure = await failure_of(client.inference.Chat(request))
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert failure.reason == "GPU_PRESSURE"
        assert failure.metadata == {"limit": "90.0", "actual": "97.0"}
        assert failure.retry_after_s == 5
        assert any(
            line.startswith("llm_requests_rejected_total") and 'reason="GPU_PRESSURE"' in line
            for line in await scrape(client)
        )
        engine.allow(2)
        assert (await collect(running)).text == "0 "
        driver.fill(0, 50 * GIB)
        await _read_anew(updates)
        assert (await collect(client.inference.Chat(request))).text == "0 "
