"""Which browser pages may call."""

from __future__ import annotations

import aiohttp
import pytest
from tokenwire.edge.app import EdgeApp

from .conftest import edge_config
from .scripted import MODEL, ScriptedFront

BODY = {"model": MODEL, "prompt": "x"}
PREFLIGHT = {"Access-Control-Request-Method": "POST"}


async def test_any_origin_may_call(scripted_http: aiohttp.ClientSession) -> None:
    """With `*` every origin, method and header is allowed, and credentials never."""
    headers = {
        "Origin": "https://a.example",
        "Access-Control-Request-Headers": "authorization, x-own",
        **PREFLIGHT,
    }
    async with scripted_http.options("/api/chat", headers=headers) as response:
        assert response.status == 204
        allowed = response.headers
    assert allowed["Access-Control-Allow-Origin"] == "*"
    assert allowed["Access-Control-Allow-Methods"] == "*"
    assert allowed["Access-Control-Allow-Headers"] == "authorization, x-own"
    assert "Access-Control-Allow-Credentials" not in allowed
    for path in ("/api/completions/stream", "/nothing"):
        async with scripted_http.post(path, json=BODY, headers=headers) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://app.example", True),
        ("http://localhost:3000", True),
        ("https://evil-app.example", False),
        ("https://app.example.evil.com", False),
        ("https://app.example:8443", False),
        ("http://app.example", False),
        ("null", False),
        ("https://APP.example", False),
    ],
)
async def test_listed_origins_are_exact(
    scripted: ScriptedFront, origin: str, is_allowed: bool
) -> None:
    """With a list only its origins may call, with credentials, three headers, three methods."""
    config = edge_config(
        LLM_GRPC_TARGET=scripted.target,
        CORS_ALLOWED_ORIGINS="https://app.example, http://localhost:3000",
    )
    async with (
        EdgeApp(config) as edge,
        aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
    ):
        headers = {"Origin": origin}
        async with http.options("/api/chat", headers={**headers, **PREFLIGHT}) as response:
            preflight = response.headers
        async with http.post("/api/completions/stream", json=BODY, headers=headers) as response:
            assert response.status == 200
            answer = response.headers
    for got in (preflight, answer):
        assert got["Vary"] == "Origin"
        assert got.get("Access-Control-Allow-Origin") == (origin if is_allowed else None)
        assert got.get("Access-Control-Allow-Credentials") == ("true" if is_allowed else None)
    if is_allowed:
        assert preflight["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
        assert preflight["Access-Control-Allow-Headers"] == (
            "Content-Type, Authorization, X-Api-Key"
        )
        assert preflight["Access-Control-Max-Age"] == "3600"
    else:
        assert "Access-Control-Allow-Methods" not in preflight
