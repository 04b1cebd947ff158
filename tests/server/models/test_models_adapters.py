"""LoRA adapters as models of their own names, over a real socket.

The engine is scripted: what is proved here is that the right request reaches the right engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from pydantic import ValidationError
from tokenwire.generated.tokenwire.v1 import models_pb2
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.models.model_state import State

from ..fronts import (
    Client,
    check,
    collect,
    failure_of,
    make_config,
    start_front,
    wait_for_state,
    wait_until,
)
from ..scripted_engine import ScriptedEngine, ScriptedLauncher, ScriptedPreparation

A, B = "test/a", "test/b"
ADAPTERS = {
    "LLM_ALLOWED_MODELS": f"{A},{B}",
    "LLM_LORA_ADAPTERS": "pirate=loras/pirate,poet=loras/poet",
}
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass(frozen=True)
class Stand:
    """A front with model A without adapters, and model B that has both."""

    client: Client
    a: ScriptedEngine
    b: ScriptedEngine


@asynccontextmanager
async def adapters_front(max_running: int = 2, num_tokens: int = 100) -> AsyncGenerator[Stand]:
    names = ("pirate", "poet")
    a, b = ScriptedEngine(), ScriptedEngine(lora_adapters=names, max_running=max_running)
    for engine in (a, b):
        engine.allow(num_tokens)
    launchers = {A: ScriptedLauncher(a), B: ScriptedLauncher(b, adapters=names)}
    async with start_front(ScriptedPreparation(launchers).prepare, **ADAPTERS) as client:
        await wait_for_state(client.app, State.SERVING, model=B)
        yield Stand(client, a, b)


def brief(client: Client, model: str, **fields: Any) -> Any:
    request = client.on(model).chat("go", **fields)
    request.sampling.max_tokens = 1
    return request


async def test_adapter_is_listed_as_a_model() -> None:
    """ListModels tells each adapter behind the models, with state and facts of its model."""
    async with adapters_front() as it:
        listed = await it.client.list_models()
    assert list(listed) == [A, B, "pirate", "poet"]
    pirate = listed["pirate"]
    assert pirate.base_model == B
    assert pirate.state == models_pb2.MODEL_STATE_SERVING
    assert pirate.context_length == listed[B].context_length
    assert list(listed[B].capabilities.lora_adapters) == ["pirate", "poet"]
    assert list(pirate.capabilities.lora_adapters) == []
    assert listed[B].base_model == ""


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("poet", {}),
        (B, {"lora_adapter": "poet"}),
        ("poet", {"lora_adapter": "poet"}),
    ],
)
@pytest.mark.parametrize("method", ["Chat", "Generate"])
async def test_both_ways_to_name_an_adapter_reach_the_engine(
    method: str, model: str, fields: dict[str, str]
) -> None:
    """An adapter's name as `model`, or as `lora_adapter`, is what the engine of its model gets."""
    async with adapters_front() as it:
        client = it.client.on(model)
        request = (client.chat if method == "Chat" else client.prompt)("go", **fields)
        request.sampling.max_tokens = 1
        answer = await collect(getattr(client.inference, method)(request))
    assert [sent.lora_adapter for sent in it.b.requests] == ["poet"]
    assert it.a.requests == []
    assert answer.started.model == model


async def test_model_without_an_adapter_is_itself() -> None:
    """A request that names no adapter gets the plain model."""
    async with adapters_front() as it:
        await collect(it.client.inference.Chat(brief(it.client, B)))
    assert [sent.lora_adapter for sent in it.b.requests] == [""]


@pytest.mark.parametrize(
    ("model", "told"), [(B, "'pirate', 'poet'"), (A, "none"), ("pirate", "'pirate'")]
)
async def test_adapter_that_the_model_lacks_is_refused(model: str, told: str) -> None:
    """An unknown `lora_adapter` is INVALID_REQUEST, names the field and what could stand there."""
    async with adapters_front() as it:
        request = brief(it.client, model, lora_adapter="nope")
        failure = await failure_of(it.client.inference.Chat(request))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.reason == "INVALID_REQUEST"
    assert failure.fields == ["lora_adapter"]
    assert told in failure.message


async def test_unknown_model_names_the_adapters_too() -> None:
    """UNSUPPORTED_MODEL lists what can stand as `model`, adapters among it."""
    async with adapters_front() as it:
        failure = await failure_of(it.client.inference.Chat(brief(it.client, "nope")))
    assert failure.reason == "UNSUPPORTED_MODEL"
    assert "'pirate'" in failure.message


async def test_adapter_shares_the_slots_of_its_model() -> None:
    """A request for an adapter waits for its turn where another adapter has its model's slot."""
    async with adapters_front(max_running=1, num_tokens=0) as it:
        running = it.client.inference.Chat(brief(it.client, "pirate"))
        await it.b.wait_until(running=1)
        queued = it.client.inference.Chat(brief(it.client, "poet", progress=True))
        assert (await queued.read()).progress.queued.place == 1
        it.b.allow(2)
        assert [(await collect(call)).text for call in (running, queued)] == ["0 ", "0 "]


async def test_health_of_an_adapter_is_that_of_its_model() -> None:
    """An adapter has a health name, which follows its model."""
    async with adapters_front() as it:
        assert await check(it.client, "pirate") == SERVING
        it.b.die()
        await wait_for_state(it.client.app, State.LOADING, model=B)
        assert await check(it.client, "pirate") == NOT_SERVING
        assert await check(it.client, A) == SERVING


async def test_adapter_loads_before_its_model_is_known() -> None:
    """Until the models are prepared an adapter is loading, and its requests are told to retry."""
    preparation = ScriptedPreparation({A: ScriptedLauncher(), B: ScriptedLauncher()})
    preparation.gates[B].clear()
    async with start_front(preparation.prepare, wait=False, **ADAPTERS) as client:
        await wait_until(client.app.models, lambda: preparation.asked == [A, B])
        assert (await client.list_models())["poet"].state == models_pb2.MODEL_STATE_LOADING
        failure = await failure_of(client.inference.Chat(brief(client, "poet")))
    assert failure.reason == "MODEL_LOADING"


async def test_request_for_an_adapter_loads_its_model() -> None:
    """An adapter of a lazy model is unloaded as the model is, and a request for it loads both."""
    engine = ScriptedEngine(lora_adapters=("poet",))
    engine.allow(1)
    launcher = ScriptedLauncher(engine, adapters=("poet",))
    values = {
        "LLM_ALLOWED_MODELS": A,
        "LLM_LAZY_LOAD": "true",
        "LLM_LORA_ADAPTERS": "poet=loras/poet",
    }
    async with start_front(launcher.prepare, wait=False, **values) as client:
        await wait_for_state(client.app, State.UNLOADED)
        assert (await client.list_models())["poet"].state == models_pb2.MODEL_STATE_UNLOADED
        answer = await collect(client.inference.Chat(brief(client, "poet")))
    assert answer.text == "0 "
    assert [sent.lora_adapter for sent in engine.requests] == ["poet"]


async def test_adapter_of_no_model_fails_with_the_reason() -> None:
    """An adapter that no model takes is FAILED; the message names the variables and the suspect."""
    outcomes = {A: ScriptedLauncher(ScriptedEngine()), B: ModelLoadFailed("no such repository")}
    async with start_front(ScriptedPreparation(outcomes).prepare, **ADAPTERS) as client:
        poet = (await client.list_models())["poet"]
        failure = await failure_of(client.inference.Chat(brief(client, "poet")))
        assert await check(client, "poet") == NOT_SERVING
        assert await check(client, "readiness") == SERVING
    assert poet.state == models_pb2.MODEL_STATE_FAILED
    for word in ("LLM_ALLOWED_MODELS", "LLM_LORA_ADAPTERS", f"'{B}'"):
        assert word in poet.failure
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert failure.reason == "MODEL_LOAD_FAILED"
    assert poet.failure in failure.message


async def test_adapter_that_the_engine_did_not_load_fails() -> None:
    """An adapter that its model's engine does not tell of is FAILED, and is never ignored."""
    engine = ScriptedEngine(lora_adapters=("pirate",))
    engine.allow(1)
    launchers = {
        A: ScriptedLauncher(engine, adapters=("pirate", "poet")),
        B: ScriptedLauncher(ScriptedEngine()),
    }
    async with start_front(ScriptedPreparation(launchers).prepare, **ADAPTERS) as client:
        listed = await client.list_models()
        failure = await failure_of(client.inference.Chat(brief(client, "poet")))
    assert listed["poet"].state == models_pb2.MODEL_STATE_FAILED
    assert listed["pirate"].state == models_pb2.MODEL_STATE_SERVING
    assert failure.reason == "MODEL_LOAD_FAILED"
    assert engine.requests == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (A, "name the adapter otherwise"),
        ("readiness", "name the adapter otherwise"),
        ("x" * 513, "at most 512 characters"),
    ],
)
def test_name_that_is_taken_is_a_configuration_mistake(name: str, told: str) -> None:
    """An adapter cannot have the id of a model, a name of the health service or an endless one."""
    with pytest.raises(ValidationError) as mistake:
        make_config(LLM_ALLOWED_MODELS=A, LLM_LORA_ADAPTERS=f"{name}=loras/x")
    assert "LLM_LORA_ADAPTERS" in str(mistake.value)
    assert told in str(mistake.value)
