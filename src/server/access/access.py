"""The decisions: who may call, what, and how much of it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from ...lifecycle import running_beside
from ..contract.errors import AccessRefused, PermissionDenied, Unauthenticated, UnsupportedModel
from ..models.model_state import ModelView
from ..request.calls import Call
from ..request.ended_request import EndedRequest
from .api_key import ApiKey
from .call_names import ANY, call_name_of
from .credentials import key_text_of
from .key_ring import KeyRing
from .meter import Clock, Meter

Metadata = Iterable[tuple[str, str | bytes]]
OnRefusal = Callable[[AccessRefused], None]


class Access:
    """Who may do what, by the keys of a ring. Without a ring everyone may do everything.

        key = access.enter(method, metadata)   # a call begins
        access.start(call, offered)            # a request begins in it
        access.record(ended)                   # that request has ended

    `open_to_all` holds those of metrics, reflection and swagger that need no key. `on_refusal` is
    told of each refusal. `check` may be called in any thread, the rest in the event loop.
    """

    def __init__(
        self,
        ring: KeyRing | None = None,
        open_to_all: Collection[str] = (),
        on_refusal: OnRefusal = lambda _: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._ring = ring
        self._open_to_all = frozenset(open_to_all)
        self._on_refusal = on_refusal
        self._meters: defaultdict[str, Meter] = defaultdict(lambda: Meter(clock))

    @property
    def key_names(self) -> Collection[str]:
        """The names of the keys in force; none where everyone may call."""
        return self._ring.keys.by_name if self._ring else ()

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[None]:
        """Takes the changes of the file of keys for the body's time."""
        if self._ring is None:
            yield
            return
        async with running_beside(self._ring.watch(), "keys"):
            yield

    def needs_key(self, call: str) -> bool:
        """Whether only callers with a key may make calls of this name."""
        return self._ring is not None and call not in self._open_to_all

    def check(self, call: str, metadata: Metadata) -> str:
        """Returns the name of the caller's key, empty where none is needed. It counts nothing.

        Raises:
            Unauthenticated: there is no key, or it is wrong or has expired.
            PermissionDenied: it is not for calls of this name.
        """
        key = self._identify(call, metadata)
        return "" if key is None else key.name

    def enter(self, method: str, metadata: Metadata) -> str:
        """Does what `check` does for a method of gRPC, and counts the call.

        Raises:
            Unauthenticated: there is no key, or it is wrong or has expired.
            PermissionDenied: it is not for calls of this name.
            QuotaExceeded: the key made too many calls within a minute.
        """
        call = call_name_of(method)
        key = None if call is None else self._identify(call, metadata)
        if key is None:
            return ""
        with self._telling(key.name):
            self._meters[key.name].count_call(key.limits)
        return key.name

    def start(self, call: Call, offered: Iterable[str]) -> None:
        """Counts a request in, until `record` is told of its end.

        `offered` are the models and adapters of this server.

        Raises:
            PermissionDenied: the key of the call is not for this model or adapter.
            UnsupportedModel: it is, and there is no such model.
            QuotaExceeded: it has too many requests in flight, or used too many tokens.
            Unauthenticated: it was taken out of the file since the call began.
        """
        name = call.context.key
        if not name:
            return
        self.check_models(name, call.model_id, call.lora_adapter, offered)
        with self._telling(name):
            self._meters[name].enter(self._find(name).limits, call.sampling.n)

    def check_models(
        self, name: str, model_id: str, lora_adapter: str, offered: Iterable[str]
    ) -> None:
        """Checks that the key of this name may use a model, and an adapter where one is named.

        Raises:
            PermissionDenied: it may not.
            UnsupportedModel: it may, and there is no such model.
            Unauthenticated: it was taken out of the file since the call began.
        """
        if not name:
            return
        with self._telling(name):
            key = self._find(name)
            for model in (model_id, lora_adapter):
                if model and not key.allows_model(model):
                    raise PermissionDenied(f"this key may not use model '{model}'")
            _check_offered(model_id, offered, key)

    def record(self, ended: EndedRequest) -> None:
        """Counts a request out, and its tokens: an observer of requests."""
        name = ended.call.context.key
        if not name or self._ring is None:
            return
        meter = self._meters[name]
        meter.leave(ended.call.sampling.n)
        key = self._ring.keys.by_name.get(name)
        if key is not None:
            num_tokens = (ended.num_prompt_tokens or 0) + ended.num_completion_tokens
            meter.spend(key.limits, num_tokens)

    def visible(self, name: str, views: Iterable[ModelView]) -> list[ModelView]:
        """Returns what the key of this name may know of models and adapters; all without a key.

        Raises:
            Unauthenticated: it was taken out of the file since the call began.
        """
        if not name:
            return list(views)
        with self._telling(name):
            key = self._find(name)
        return [_without_others(view, key) for view in views if key.allows_model(view.model_id)]

    def _identify(self, call: str, metadata: Metadata) -> ApiKey | None:
        ring = self._ring
        if ring is None or call in self._open_to_all:
            return None
        text = key_text_of(metadata)
        key = None if text is None else ring.keys.find(text)
        with self._telling("" if key is None else key.name):
            if text is None:
                raise Unauthenticated(
                    "an API key is required, as 'authorization: Bearer KEY' or 'x-api-key: KEY'"
                )
            if key is None:
                raise Unauthenticated("the API key is not valid")
            if key.expires is not None and key.expires <= datetime.now(UTC):
                raise Unauthenticated(f"the API key '{key.name}' has expired")
            if call != ANY and not key.allows_call(call):
                raise PermissionDenied(f"this key may not be used for {call}")
        return key

    def _find(self, name: str) -> ApiKey:
        key = self._ring.keys.by_name.get(name) if self._ring else None
        if key is None:
            raise Unauthenticated("the API key is not valid any more")
        return key

    @contextmanager
    def _telling(self, name: str) -> Generator[None]:
        try:
            yield
        except AccessRefused as error:
            error.key = name
            self._on_refusal(error)
            raise


def _without_others(view: ModelView, key: ApiKey) -> ModelView:
    """Takes out the names of adapters and of the base model that the key may not use."""
    info = view.info
    if info is not None:
        adapters = tuple(name for name in info.lora_adapters if key.allows_model(name))
        info = replace(info, lora_adapters=adapters)
    base_model = view.base_model if key.allows_model(view.base_model) else ""
    return replace(view, info=info, base_model=base_model)


def _check_offered(model: str, offered: Iterable[str], key: ApiKey) -> None:
    """Raises what a model that is not here would raise later, with the names of all models."""
    if key.models is None:
        return
    visible = [name for name in offered if key.allows_model(name)]
    if model not in visible:
        raise UnsupportedModel(model, visible)
