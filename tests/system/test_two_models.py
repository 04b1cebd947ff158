"""Two models at once, one on each engine; one of the engines is killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2
from tokenwire.generated.tokenwire.v1 import models_pb2
from tokenwire.server.contract.engine import Engine
from tokenwire.server.contract.load_progress import ReportProgress
from tokenwire.server.engines.llama_cpp.engine import LlamaCppEngine
from tokenwire.server.engines.sglang.front.engine import SglangEngine
from tokenwire.server.models.model_state import PreparedModel, State
from tokenwire.server.preparation.preparation import Preparation

from ..conftest import MODEL_ID
from ..server.fronts import Client, check, collect, failure_of, make_config, wait_for_state
from .services import Handover, Lent, Service, start_service

ON_LLAMA, ON_SGLANG = MODEL_ID, "local/smollm2"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
HANG_S = 300
# Many times what the other stream takes; it is never read to its end.
ENDLESS = 3000


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(sglang_engine: SglangEngine) -> AsyncIterator[Service]:
    """A llama.cpp of its own, and the one SGLang of the test run, behind one front."""
    values = {
        "LLM_ALLOWED_MODELS": f"{ON_LLAMA},{ON_SGLANG}",
        "LLM_DEVICE": "cpu",
        "LLM_MAX_MODEL_LEN": "4096",
        "LLM_MAX_CONCURRENT_REQUESTS": "2",
        "LLM_CRASH_CONTINUATION": "false",
    }
    preparation = Preparation(make_config(**values))
    handover = Handover(cast("Engine", Lent(sglang_engine)))

    async def prepare(model_id: str, report: ReportProgress) -> PreparedModel:
        chosen = handover if model_id == ON_SGLANG else preparation
        return await chosen.prepare(model_id, report)

    async with start_service(prepare, **values) as service:
        await wait_for_state(service.client.app, State.SERVING, model=ON_SGLANG)
        yield service


@pytest.fixture
def client(service: Service) -> Client:
    return service.client


def story(client: Client, model: str, num_tokens: int) -> Any:
    """A request that runs for exactly so many tokens."""
    request = client.on(model).chat("Tell me a very long story.")
    request.sampling.max_tokens = num_tokens
    request.sampling.ignore_eos = True
    return request


def engine_of(client: Client, model: str) -> Engine:
    return client.app.models.route(model).model.engine


async def read_first_delta(call: Any) -> None:
    while (await call.read()).WhichOneof("event") != "deltas":
        pass


async def test_each_model_runs_on_its_engine(client: Client) -> None:
    """ListModels tells both models serving, one on llama.cpp and one on SGLang."""
    listed = await client.list_models()
    assert list(listed) == [ON_LLAMA, ON_SGLANG]
    assert {model.state for model in listed.values()} == {models_pb2.MODEL_STATE_SERVING}
    assert listed[ON_LLAMA].engine.startswith("llama.cpp")
    assert listed[ON_SGLANG].engine.startswith("sglang")


async def test_both_answer_at_the_same_time(client: Client) -> None:
    """One model's whole answer comes while a stream of the other runs, which then goes on."""
    async with asyncio.timeout(HANG_S):
        long = client.inference.Chat(story(client, ON_LLAMA, ENDLESS))
        await read_first_delta(long)
        answer = await collect(client.inference.Chat(story(client, ON_SGLANG, 16)))
        assert answer.finished.usage.num_completion_tokens == 16
        # Not what lay in a buffer: the engine itself still works at it.
        assert (await engine_of(client, ON_LLAMA).status()).num_running == 1
        await read_first_delta(long)
        long.cancel()


async def test_death_of_one_engine_leaves_streams_of_the_other(client: Client) -> None:
    """Kill -9 of llama.cpp ends its stream alone: SGLang's stream and health are as undisturbed."""
    async with asyncio.timeout(HANG_S):
        watch = client.health.Watch(health_pb2.HealthCheckRequest(service=ON_LLAMA))
        assert (await watch.read()).status == SERVING
        alone = await collect(client.inference.Chat(story(client, ON_SGLANG, 200)))
        doomed = client.inference.Chat(story(client, ON_LLAMA, ENDLESS))
        await read_first_delta(doomed)
        untouched = client.inference.Chat(story(client, ON_SGLANG, 200))
        first = await untouched.read()
        os.kill(cast("LlamaCppEngine", engine_of(client, ON_LLAMA)).pid, signal.SIGKILL)
        failure = await failure_of(doomed)
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert failure.reason == "ENGINE_LOST"
        assert (await engine_of(client, ON_SGLANG).status()).num_running == 1
        assert (await watch.read()).status == NOT_SERVING
        assert await check(client, ON_SGLANG) == SERVING
        assert await check(client, "readiness") == SERVING
        assert first.WhichOneof("event") == "started"
        rest = await collect(untouched)
        assert rest.text == alone.text
        assert rest.finished.usage.num_completion_tokens == 200
        assert (await watch.read()).status == SERVING
        watch.cancel()
        answer = await collect(client.inference.Chat(story(client, ON_LLAMA, 4)))
        assert answer.finished.usage.num_completion_tokens == 4
        assert client.app.models.route(ON_SGLANG).model.keeper.num_restarts == 0
