"""The models of this server and their LoRA adapters: by name, and where each one stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from ..contract.errors import ModelLoadFailed, ModelLoading, UnsupportedModel
from ..contract.load_progress import LoadProgress
from .model_state import ModelView, Prepare, State
from .served_model import ServedModel


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes: a model, and one of its LoRA adapters or an empty name."""

    model: ServedModel
    lora_adapter: str


class Models:
    """The models that this server offers, in the order of the configuration.

    Those in `lazy` are loaded when they are first asked for. `adapters` are names of LoRA adapters;
    which model each belongs to is known once the models are prepared.
    """

    def __init__(
        self,
        model_ids: Iterable[str],
        prepare: Prepare,
        *,
        max_in_flight: int,
        max_queued: int,
        lazy: Collection[str] = (),
        idle_unload_s: float = 0.0,
        stall_s: float = 0.0,
        hang_s: float = 0.0,
        adapters: Iterable[str] = (),
    ) -> None:
        self._observers: list[Callable[[], None]] = []
        self._models = {
            model_id: ServedModel(
                model_id,
                prepare,
                max_in_flight=max_in_flight,
                max_queued=max_queued,
                on_change=self._notify,
                is_lazy=model_id in lazy,
                idle_unload_s=idle_unload_s,
                stall_s=stall_s,
                hang_s=hang_s,
            )
            for model_id in model_ids
        }
        self.adapters = tuple(adapters)
        self._is_prepared = False

    def observe(self, observer: Callable[[], None]) -> None:
        """Calls `observer` now, and after every change of any model's state or progress."""
        self._observers.append(observer)
        observer()

    def route(self, name: str) -> Route:
        """Finds the model of an id, or the model of an adapter's name.

        Raises:
            UnsupportedModel: there is none.
            ModelLoading: the adapter's model is not known yet.
            ModelLoadFailed: the adapter belongs to no model.
        """
        if name in self._models:
            return Route(self._models[name], "")
        if name not in self.adapters:
            raise UnsupportedModel(name, [*self._models, *self.adapters])
        base = self._find_base(name)
        if base is not None:
            return Route(base, name)
        view = self._view_adapter(name)
        if view.state is State.FAILED:
            raise ModelLoadFailed(f"LoRA adapter '{name}' cannot be served: {view.failure}")
        raise ModelLoading(f"LoRA adapter '{name}' waits for its model to be prepared")

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    @property
    def views(self) -> list[ModelView]:
        """Where every model and, behind them, every adapter stands."""
        models = [model.view for model in self._models.values()]
        return models + [self._view_adapter(name) for name in self.adapters]

    @property
    def is_ready(self) -> bool:
        """Whether traffic should come.

        Not until every model that is loaded at the start has served or failed once; from then on
        while at least one model serves or would be loaded by a request.
        """
        models = self._models.values()
        has_started = all(model.standing.has_settled for model in models if not model.is_lazy)
        return has_started and any(model.is_available for model in models)

    async def run(self) -> None:
        """Prepares all models at once, loads them in turn and keeps them, until cancelled.

        No model is loaded before all are prepared: how memory is shared depends on all of them.
        """
        async with asyncio.TaskGroup() as group:
            for model in self._models.values():
                group.create_task(model.prepare(), name=f"prepare {model.model_id}")
        self._is_prepared = True
        self._notify()
        # A lock lets in first who asked first: here, the order of the configuration.
        turn = asyncio.Lock()
        async with asyncio.TaskGroup() as group:
            for model in self._models.values():
                group.create_task(model.run(turn), name=f"model {model.model_id}")
                group.create_task(model.status_watch.run(), name=f"status {model.model_id}")

    def _find_base(self, adapter: str) -> ServedModel | None:
        return next((model for model in self._models.values() if adapter in model.adapters), None)

    def _view_adapter(self, name: str) -> ModelView:
        base = self._find_base(name)
        if base is None:
            return self._view_homeless(name)
        view = base.view
        info = view.info
        if view.state is State.SERVING and info is not None and name not in info.lora_adapters:
            failure = (
                f"the engine of '{base.model_id}' did not load it; the server's log may say why"
            )
            view = replace(view, state=State.FAILED, failure=failure)
        # An adapter has no adapters of its own.
        own_info = replace(info, lora_adapters=()) if info is not None else None
        return replace(view, model_id=name, info=own_info, base_model=base.model_id)

    def _view_homeless(self, name: str) -> ModelView:
        if not self._is_prepared:
            return ModelView(
                name, "", State.LOADING, LoadProgress("looking for its model"), "", None
            )
        failure = (
            "no model of LLM_ALLOWED_MODELS takes it: it needs the model that it was trained on, "
            "run by SGLang on a GPU. Add that, or take the adapter out of LLM_LORA_ADAPTERS"
        )
        failed = [
            model.model_id for model in self._models.values() if model.view.state is State.FAILED
        ]
        if failed:
            names = ", ".join(f"'{model_id}'" for model_id in failed)
            failure += f". It may belong to {names}, which failed"
        return ModelView(name, "", State.FAILED, None, failure, None)

    def _notify(self) -> None:
        for observer in self._observers:
            observer()
