"""The table of errors, capacity, and bodies that cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from tokenwire.edge.app import EdgeApp
from tokenwire.server.app import ServerApp
from tokenwire.server.contract.errors import GenerationFailed, ModelLoadFailed
from tokenwire.server.machine.gpus import GpuReading
from tokenwire.server.models.model_state import State

from ..docs.pages import read_page, table_below
from ..edge.conftest import edge_config
from ..server.fronts import make_config, wait_for_state
from ..server.scripted_engine import ScriptedEngine, ScriptedLauncher
from .real_service import RealService
from .stage import CHAT, PROMPT, Stage, start_stage

GUARD_S = 45.0
GIB = 1 << 30
ROWS = {
    code.strip("`"): (int(status), beginning.strip("`"), header.strip("`-"))
    for status, code, beginning, header in table_below(read_page("rest.md"), "## Errors")
}
ROUTES = [
    ("/api/generate", PROMPT),
    ("/api/chat", CHAT),
    ("/api/completions", PROMPT),
    ("/api/generate/stream", PROMPT),
    ("/api/chat/stream", CHAT),
    ("/api/completions/stream", PROMPT),
]
UNARY = ROUTES[:3]
STREAMS = ROUTES[3:]


async def fails(http: aiohttp.ClientSession, path: str, body: Any, code: str) -> str:
    """Posts what must fail as the table's row says; returns what `error` says behind its begin."""
    status, beginning, header = ROWS[code]
    async with http.post(path, json=body) as response:
        assert response.status == status, await response.text()
        assert response.content_type == "application/json"
        answer = await response.json()
        retry_after = response.headers.get("Retry-After")
    assert set(answer) == {"error", "code"}
    assert answer["code"] == code
    assert answer["error"].startswith(beginning)
    assert (f"Retry-After: {retry_after}" if retry_after else "") == header
    return str(answer["error"]).removeprefix(beginning)


def test_the_table_has_every_row() -> None:
    """Each of its codes is shown below."""
    assert ROWS.keys() == {
        "BAD_REQUEST",
        "UNSUPPORTED_MODEL",
        "GENERATION_ERROR",
        "INTERNAL_ERROR",
        "MODEL_LOAD_ERROR",
        "SERVICE_UNAVAILABLE",
    }


async def test_rows(stage: Stage) -> None:
    """On each route: a field that is wrong, a model that is not here, an engine that fails."""
    http, engine = stage.http, stage.engine
    engine.allow(100)
    for path, body in ROUTES:
        await fails(http, path, {**body, "top_p": "all"}, "BAD_REQUEST")
        told = await fails(http, path, {**body, "model": "no/such"}, "UNSUPPORTED_MODEL")
        assert "no/such" in told
        engine.failure = GenerationFailed("it did not work")
        assert await fails(http, path, body, "GENERATION_ERROR") == "it did not work"
    engine.failure = RuntimeError("a secret of the inside")
    # On one route: it is logged with its traceback, which takes a second.
    assert "secret" not in await fails(http, "/api/chat", CHAT, "INTERNAL_ERROR")


async def test_an_engine_that_dies() -> None:
    """Where calls do not go on behind its death it is told as such, and when to ask again."""
    async with (
        asyncio.timeout(GUARD_S),
        start_stage(LLM_CRASH_CONTINUATION="false") as stage,
        asyncio.TaskGroup() as tasks,
    ):
        asked = tasks.create_task(fails(stage.http, "/api/chat", CHAT, "SERVICE_UNAVAILABLE"))
        await stage.engine.wait_until(running=1)
        stage.engine.die()
    assert "engine" in asked.result()


@pytest.mark.parametrize(
    ("launcher", "state", "told"),
    [
        (ScriptedLauncher, State.LOADING, "is not loaded yet"),
        (
            lambda: ScriptedLauncher(ModelLoadFailed("no config.json")),
            State.FAILED,
            "no config.json",
        ),
    ],
    ids=["loading", "failed"],
)
async def test_a_model_that_is_not_there(
    launcher: Callable[[], ScriptedLauncher], state: State, told: str
) -> None:
    """While it loads, and when it has failed, each route says so and when to try again."""
    async with ServerApp(make_config(), launcher().prepare) as front:
        await wait_for_state(front, state)
        async with (
            EdgeApp(edge_config(LLM_GRPC_TARGET=f"127.0.0.1:{front.port}")) as edge,
            aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
        ):
            for path, body in ROUTES:
                assert told in await fails(http, path, body, "MODEL_LOAD_ERROR")


@pytest.mark.parametrize(("path", "body"), ROUTES)
async def test_what_cannot_be_read(service: RealService, path: str, body: dict[str, Any]) -> None:
    """Whatever is wrong with a body is told by its field.

    > Malformed JSON, a missing field and a wrong type are a 400 in the same shape, which names the
    > field.
    """
    prompt = "messages" if "messages" in body else "prompt"
    for wrong, named in (
        (b"{", "body"),
        (b"", "body"),
        (b"\xff", "body"),
        (b"[1]", "body"),
        (b'{"a": NaN}', "body"),
        (b"[" * 5000, "body"),
        ({**body, "model": None}, "model"),
        ({**body, "model": 5}, "model"),
        ({**body, prompt: None}, prompt),
        ({**body, prompt: 5}, prompt),
        ({**body, "temperature": "hot"}, "temperature"),
        ({**body, "top_p": True}, "top_p"),
        ({**body, "max_tokens": 1.5}, "max_tokens"),
        ({**body, "stop": {}}, "stop"),
        ({**body, "stop": ["a", 5]}, "stop[1]"),
    ):
        send = {"json": wrong} if isinstance(wrong, dict) else {"data": wrong}
        headers = {"Content-Type": "application/json"}
        async with service.http.post(path, headers=headers, **send) as response:
            answer = await response.json()
            assert response.status == 400
            assert answer["code"] == "BAD_REQUEST"
            assert answer["error"].startswith(f"Bad request: {named}: "), answer


async def test_a_unary_call_waits_for_its_turn() -> None:
    """Two calls at one slot: the second one is answered behind the first.

    > At capacity, a call that is no stream waits for its turn, up to `LLM_QUEUE_TIMEOUT_MS`, and
    > then gets the 503 above.
    """
    async with (
        asyncio.timeout(GUARD_S),
        start_stage(LLM_MAX_CONCURRENT_REQUESTS="1") as stage,
        asyncio.TaskGroup() as tasks,
    ):
        first = tasks.create_task(stage.http.post("/api/chat", json=CHAT).__aenter__())
        await stage.engine.wait_until(running=1)
        second = tasks.create_task(stage.http.post("/api/generate", json=PROMPT).__aenter__())
        await stage.engine.wait_until_rendering(2)
        assert len(stage.engine.requests) == 1
        stage.engine.allow(100)
        for asked in (first, second):
            async with await asked as response:
                assert response.status == 200


async def test_a_wait_for_a_turn_has_an_end() -> None:
    """With the only slot taken for longer, the message tells the wait."""
    busy = {"LLM_MAX_CONCURRENT_REQUESTS": "1", "LLM_QUEUE_TIMEOUT_MS": "20"}
    async with asyncio.timeout(GUARD_S), start_stage(**busy) as stage, _occupying(stage):
        for path, body in UNARY:
            told = await fails(stage.http, path, body, "SERVICE_UNAVAILABLE")
            assert "20 ms" in told


async def test_streams_wait_for_no_turn() -> None:
    """With the only slot taken, they are refused long before the 30 s that others wait.

    > A stream that finds no turn at once gets a 503 with `Retry-After: 10` and
    > `{"error":"Service temporarily at capacity","message":"…","retry_after_seconds":10,
    > "code":"SERVICE_UNAVAILABLE"}`.
    """
    async with (
        asyncio.timeout(GUARD_S),
        start_stage(LLM_MAX_CONCURRENT_REQUESTS="1") as stage,
        _occupying(stage),
    ):
        for path, body in (*STREAMS, ("/api/completions", {**PROMPT, "stream": True})):
            async with stage.http.post(path, json=body) as response:
                assert response.status == 503
                assert response.headers["Retry-After"] == "10"
                answer = await response.json()
            message = answer.pop("message")
            assert isinstance(message, str)
            assert message
            assert answer == {
                "error": "Service temporarily at capacity",
                "retry_after_seconds": 10,
                "code": "SERVICE_UNAVAILABLE",
            }


@asynccontextmanager
async def _occupying(stage: Stage) -> AsyncGenerator[None]:
    """Holds a slot with a stream that has begun."""
    stage.engine.allow(1)
    async with stage.http.post("/api/chat/stream", json={**CHAT, "max_tokens": 50}) as running:
        assert running.status == 200
        yield
        stage.engine.allow(100)


async def test_gpu_pressure() -> None:
    """A GPU of which 97 % are in use, of it first 50 and then 1 in the free part of a pool.

    > While GPU memory use is above `GPU_PRESSURE_THRESHOLD` percent, requests get the 503 above;
    > what is free in the engines' KV pools does not count as used.
    """
    engine = ScriptedEngine(gpu_ids=("0",), kv_pool_bytes=50 * GIB)
    engine.kv_usage = 0.0
    async with start_stage(engine) as stage:
        app = stage.service.client.app
        model = next(iter(app.models))
        for usage, is_refused in ((0.0, False), (0.98, True)):
            engine.kv_usage = usage
            await model.status_watch.ask()
            app._gpu_pressure.update((GpuReading("0", 100 * GIB, 97 * GIB),))
            if is_refused:
                for path, body in ROUTES:
                    told = await fails(stage.http, path, body, "SERVICE_UNAVAILABLE")
                    assert "96.0 %" in told
                    assert "95.0 %" in told
            else:
                await stage.post("/api/generate", PROMPT)
