"""What the edge answers by itself, while the front that knows the keys comes and goes."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from tokenwire.edge.app import EdgeApp

from ..server.fronts import start_front
from ..server.key_files import write_keys
from ..server.scripted_engine import ScriptedEngine, ScriptedLauncher
from .conftest import edge_config

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
