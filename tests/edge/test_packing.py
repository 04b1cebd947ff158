"""What is compressed, for whom, and what never is."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.packing import choose_coding
from tokenwire.generated.tokenwire.v1 import models_pb2

from .conftest import edge_config
from .scripted import MODEL, ScriptedFront

UNPACK = {"gzip": gzip.decompress, "deflate": zlib.decompress}


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("GZIP, deflate, br", "gzip"),
        ("deflate", "deflate"),
        ("gzip;q=0.5, deflate;q=0.8", "deflate"),
        ("gzip;q=0", None),
        ("gzip ; q=0, *", "deflate"),
        ("*", "gzip"),
        ("*;q=0", None),
        ("br, zstd", None),
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("gzip;q=1.0, identity; q=0.5, *;q=0", "gzip"),
        ("gzip;q=nonsense", None),
        ("gzip;level=9", "gzip"),
        (",,;", None),
    ],
)
def test_the_client_chooses(accepted: str, coding: str | None) -> None:
    """By weights, refusals and the star, as the RFC has it."""
    assert choose_coding(accepted) == coding


@pytest_asyncio.fixture(loop_scope="session")
async def raw_http(
    scripted: ScriptedFront, scripted_edge: EdgeApp
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that says nothing of codings by itself, and unpacks nothing."""
    scripted.models = [models_pb2.Model(id=f"owner/model-{number}") for number in range(50)]
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{scripted_edge.port}",
        auto_decompress=False,
        skip_auto_headers=("Accept-Encoding",),
    ) as session:
        yield session


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    "path",
    ["/api/llms", "/metrics", "/api/openapi.json", "/swagger-ui/swagger-ui.css"],
)
async def test_whole_answers_are_compressed(
    raw_http: aiohttp.ClientSession, path: str, coding: str
) -> None:
    """JSON, metrics and pages come smaller and are the same, and say what they depend on."""
    async with raw_http.get(path) as response:
        plain = await response.read()
        assert "Content-Encoding" not in response.headers
        assert "Accept-Encoding" in ", ".join(response.headers.getall("Vary"))
    for _ in range(2):
        async with raw_http.get(path, headers={"Accept-Encoding": coding}) as response:
            packed = await response.read()
            assert response.headers["Content-Encoding"] == coding
            assert "Accept-Encoding" in ", ".join(response.headers.getall("Vary"))
            assert int(response.headers["Content-Length"]) == len(packed) < len(plain)
        if path != "/metrics":  # which has counted the first one
            assert UNPACK[coding](packed) == plain


async def test_head_tells_what_get_would(raw_http: aiohttp.ClientSession) -> None:
    """A HEAD has the headers of the compressed answer, and no body."""
    headers = {"Accept-Encoding": "gzip"}
    async with raw_http.get("/api/openapi.json", headers=headers) as response:
        length = response.headers["Content-Length"]
    async with raw_http.head("/api/openapi.json", headers=headers) as response:
        assert response.headers["Content-Length"] == length
        assert response.headers["Content-Encoding"] == "gzip"


async def test_a_small_answer_stays_as_it_is(raw_http: aiohttp.ClientSession) -> None:
    """What fits into a packet gains nothing."""
    async with raw_http.get("/health/live", headers={"Accept-Encoding": "gzip"}) as response:
        assert "Content-Encoding" not in response.headers
        assert "Vary" not in response.headers
        assert await response.read() == b'{"status":"ok"}'


@pytest.mark.parametrize("path", ["/api/chat/stream", "/api/completions/stream"])
async def test_streams_are_never_compressed(raw_http: aiohttp.ClientSession, path: str) -> None:
    """Whatever the client takes."""
    body: dict[str, Any] = {"model": MODEL, "prompt": "x"}
    if "chat" in path:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"Accept-Encoding": "gzip, deflate, *"}
    async with raw_http.post(path, json=body, headers=headers) as response:
        assert "Content-Encoding" not in response.headers
        assert (await response.read()).startswith(b"data: {")


async def test_the_origin_stays_in_vary(scripted: ScriptedFront) -> None:
    """An answer may depend on both."""
    config = edge_config(
        LLM_GRPC_TARGET=scripted.target, CORS_ALLOWED_ORIGINS="https://app.example"
    )
    async with (
        EdgeApp(config) as edge,
        aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
        http.get("/api/openapi.json") as response,
    ):
        assert sorted(response.headers.getall("Vary")) == ["Accept-Encoding", "Origin"]
