"""What is read of each model when it is scraped. Names: `docs/observability.md`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from ....metrics.readings import MetricReadings, Read
from ...models.model_state import State
from ...models.served_model import ServedModel

_GAUGES: Final[dict[str, tuple[str, Callable[[ServedModel], float]]]] = {
    "llm_requests_in_flight": (
        "Requests that hold a slot.",
        lambda model: float(model.admission.num_in_flight),
    ),
    "llm_queue_depth": (
        "Requests that wait for a slot, or for the model to be loaded.",
        lambda model: float(model.admission.num_queued),
    ),
    "llm_engine_up": (
        "1 while an engine serves the model.",
        lambda model: float(model.view.state is State.SERVING),
    ),
    "llm_model_load_seconds": (
        "Time that the last load of the engine took.",
        lambda model: model.keeper.load_s or 0.0,
    ),
    "llm_model_download_bytes": (
        "Bytes of the model's last download that are here.",
        lambda model: float(model.standing.download.num_bytes),
    ),
    "llm_model_download_expected_bytes": (
        "Bytes of all files of the model's last download.",
        lambda model: float(model.standing.download.num_bytes_expected),
    ),
    "llm_kv_cache_without_scales": (
        "1 while the model serves with an FP8 KV cache that has no scales of its own.",
        lambda model: float(_lacks_scales(model)),
    ),
}


def register_models(readings: MetricReadings, models: Iterable[ServedModel]) -> None:
    """Adds what is read of the models."""
    served = list(models)

    def of_each(read: Callable[[ServedModel], float]) -> Read:
        return lambda: {(model.model_id,): read(model) for model in served}

    for name, (help_text, read) in _GAUGES.items():
        readings.gauge(name, help_text, ("model",), of_each(read))
    readings.counter(
        "llm_engine_restarts",
        "Engines of the model that died.",
        ("model",),
        of_each(lambda model: float(model.keeper.num_restarts)),
    )
    readings.counter(
        "llm_engine_hangs",
        "Engines of the model that lived and did not go on.",
        ("model",),
        of_each(lambda model: float(model.keeper.num_hangs)),
    )
    readings.gauge(
        "llm_model_state",
        "1 for the state that the model is in.",
        ("model", "state"),
        lambda: {
            (model.model_id, state.value): float(model.view.state is state)
            for model in served
            for state in State
        },
    )


def _lacks_scales(model: ServedModel) -> bool:
    view = model.view
    info = view.info
    return view.state is State.SERVING and info is not None and info.has_kv_cache_scales is False
