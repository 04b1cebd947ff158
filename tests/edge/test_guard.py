"""What the edge answers by itself, while the front that knows the keys comes and goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import aiohttp
import grpc
import pytest
from aiohttp import web
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.client import FrontClient
from tokenwire.edge.context import CONTEXT, RequestContext
from tokenwire.edge.guard import Doorkeeper, Guard
from tokenwire.generated.tokenwire.v1 import access_pb2, access_pb2_grpc

from ..server.fronts import start_front
from ..server.key_files import write_keys
from ..server.scripted_engine import ScriptedEngine, ScriptedLauncher
from .conftest import edge_config
from .raw_http import exchange

PATHS = ("/metrics", "/swagger-ui", "/api/openapi.json")


async def statuses(http: aiohttp.ClientSession, headers: dict[str, str]) -> list[int]:
    """What the paths answer."""
    found: list[int] = []
    for path in PATHS:
        async with http.get(path, headers=headers) as response:
            found.append(response.status)
    return found


@pytest.mark.parametrize(
    ("open_to_all", "stranger", "stranger_later", "known_later"),
    [
        ("none", [401, 401, 401], [503, 503, 503], [503, 503, 503]),
        ("swagger", [401, 200, 200], [503, 200, 200], [503, 200, 200]),
        ("metrics,swagger", [200, 200, 200], [200, 200, 200], [200, 200, 200]),
    ],
)
async def test_the_fronts_last_word_counts_while_it_is_away(
    tmp_path: Path,
    open_to_all: str,
    stranger: list[int],
    stranger_later: list[int],
    known_later: list[int],
) -> None:
    """What needed no key stays open, what did is shut: also to those who had one."""
    path = tmp_path / "keys.toml"
    texts = write_keys(path, alice='calls = ["metrics", "swagger"]')
    alice = {"x-api-key": texts["alice"]}
    async with start_front(
        ScriptedLauncher(ScriptedEngine()).prepare,
        LLM_API_KEYS_FILE=str(path),
        LLM_API_KEYS_OPEN=open_to_all,
    ) as client:
        config = edge_config(LLM_GRPC_TARGET=f"127.0.0.1:{client.app.port}")
        edge = EdgeApp(config)
        await edge.__aenter__()
        http = aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}")
        assert await statuses(http, {}) == stranger
        assert await statuses(http, alice) == [200, 200, 200]
    try:
        assert await statuses(http, {}) == stranger_later
        assert await statuses(http, alice) == known_later
    finally:
        await http.close()
        await edge.__aexit__(None, None, None)


async def test_a_front_that_was_never_there_shuts_nothing() -> None:
    """An edge alone has nothing to hide, and can be looked at."""
    async with (
        EdgeApp(edge_config(LLM_GRPC_TARGET="127.0.0.1:1")) as edge,
        aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
    ):
        assert await statuses(http, {}) == [200, 200, 200]


class OldClient(FrontClient):
    """Of a front that knows no keys, and is out of breath afterwards."""

    num_asked = 0

    async def check_access(self, resource: Any, context: RequestContext) -> bool:  # noqa: ARG002
        """Fails in one way, then in the other."""
        self.num_asked += 1
        codes = (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DEADLINE_EXCEEDED)
        code = codes[min(self.num_asked, 2) - 1]
        raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())


async def test_a_front_without_keys_shuts_nothing_while_it_is_slow() -> None:
    """That it knows no keys is its last word, too."""
    front = OldClient("127.0.0.1:1")

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response()

    guard = Guard(front)
    (route,) = guard.guarded([web.get("/x", answer)], access_pb2.RESOURCE_SWAGGER)
    handler = cast("Any", route.handler)
    for _ in range(2):
        assert (await handler({CONTEXT: caller()})).status == 200
    assert front.num_asked == 2
    await front.close()


class AskedFront(access_pb2_grpc.AccessServiceServicer):
    """Notes how long it has to say who may use what."""

    remaining_s = 0.0

    async def CheckAccess(self, _request: Any, context: Any) -> access_pb2.CheckAccessResponse:
        self.remaining_s = context.time_remaining()
        return access_pb2.CheckAccessResponse()


async def test_a_front_on_a_busy_machine_has_time_to_answer() -> None:
    """A page is no 504 because the front takes a second; it has what other questions have."""
    server = grpc.aio.server()
    asked = AskedFront()
    access_pb2_grpc.add_AccessServiceServicer_to_server(asked, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    front = FrontClient(f"127.0.0.1:{port}")
    try:
        assert not await front.check_access(access_pb2.RESOURCE_SWAGGER, caller())
    finally:
        await front.close()
        await server.stop(0)
    assert 2 < asked.remaining_s <= 5


class CountingClient(FrontClient):
    """Counts what is asked about callers."""

    num_asked = 0

    async def check_access(self, resource: Any, context: RequestContext) -> bool:
        """Counts, and asks."""
        self.num_asked += 1
        return await super().check_access(resource, context)


def caller(key: str = "") -> RequestContext:
    """The context of a caller with a key, or with none."""
    return RequestContext.from_headers({"x-api-key": key} if key else {})


@pytest.mark.parametrize("path", ["/api/chat", "/tokenwire/v1/chat"])
@pytest.mark.parametrize("header", ["", "x-api-key: wrong\r\n"])
async def test_a_large_body_without_a_good_key_is_not_waited_for(
    tmp_path: Path, path: str, header: str
) -> None:
    """The refusal comes though nothing of the body does."""
    keys = tmp_path / "keys.toml"
    write_keys(keys, alice="")
    async with start_front(
        ScriptedLauncher(ScriptedEngine()).prepare, LLM_API_KEYS_FILE=str(keys)
    ) as client:
        config = edge_config(LLM_GRPC_TARGET=f"127.0.0.1:{client.app.port}")
        async with EdgeApp(config) as edge:
            for _ in range(2):  # the second one when it is known that keys are needed
                head = f"POST {path} HTTP/1.1\r\nHost: a\r\n{header}Content-Length: 200000\r\n\r\n"
                status, headers, _answer = await exchange(edge.port, head.encode())
                assert status == 401
                assert headers["WWW-Authenticate"] == "Bearer"


async def test_where_no_key_is_needed_the_front_is_asked_now_and_then() -> None:
    """Its answer holds for some seconds, and is asked for again after them."""
    now_s = 0.0
    async with start_front(ScriptedLauncher(ScriptedEngine()).prepare) as client:
        front = CountingClient(f"127.0.0.1:{client.app.port}")
        doorkeeper = Doorkeeper(front, lambda: now_s)
        for _ in range(3):
            await doorkeeper.check(caller(), is_large=True)
        assert front.num_asked == 1
        now_s = 60.0
        await doorkeeper.check(caller(), is_large=True)
        assert front.num_asked == 2
        await front.close()


async def test_where_keys_are_needed_large_bodies_alone_are_asked_about(tmp_path: Path) -> None:
    """A key with a small body is looked at by the call itself; it may be for some calls only."""
    keys = tmp_path / "keys.toml"
    texts = write_keys(keys, alice='calls = ["Chat"]')
    async with start_front(
        ScriptedLauncher(ScriptedEngine()).prepare, LLM_API_KEYS_FILE=str(keys)
    ) as client:
        front = CountingClient(f"127.0.0.1:{client.app.port}")
        doorkeeper = Doorkeeper(front)
        alice = caller(texts["alice"])
        await doorkeeper.check(alice, is_large=False)
        assert front.num_asked == 1  # nothing was known yet
        await doorkeeper.check(alice, is_large=False)
        assert front.num_asked == 1
        await doorkeeper.check(alice, is_large=True)
        assert front.num_asked == 2
        await front.close()
