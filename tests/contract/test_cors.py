"""Which browser pages may call; more of it in `tests/edge/test_cors.py`."""

from __future__ import annotations

import aiohttp
from tokenwire.edge.app import EdgeApp

from ..edge.conftest import edge_config
from ..edge.scripted import MODEL, ScriptedFront

BODY = {"model": MODEL, "prompt": "x"}
ASKED = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type, x-own",
}


async def both(origin: str, allowed: str) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the headers of a preflight and of an answer, for a page from `origin`."""
    async with (
        ScriptedFront() as front,
        EdgeApp(edge_config(LLM_GRPC_TARGET=front.target, CORS_ALLOWED_ORIGINS=allowed)) as edge,
        aiohttp.ClientSession(f"http://127.0.0.1:{edge.port}") as http,
    ):
        page = {"Origin": origin}
        async with http.options("/api/generate", headers={**page, **ASKED}) as response:
            assert response.status < 300
            preflight = dict(response.headers)
        async with http.post("/api/generate", json=BODY, headers=page) as response:
            assert response.status == 200
            return preflight, dict(response.headers)


async def test_any_origin() -> None:
    """Whatever the page asks for is allowed.

    > `CORS_ALLOWED_ORIGINS=*` allows any origin, method and header, without credentials.
    """
    preflight, answer = await both("https://page.example", "*")
    assert preflight["Access-Control-Allow-Methods"] == "*"
    assert preflight["Access-Control-Allow-Headers"] == "content-type, x-own"
    for headers in (preflight, answer):
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in headers


async def test_a_list_of_origins() -> None:
    """A page of the list, and one of another.

    > A list allows these origins alone, with the methods GET, POST and OPTIONS, the headers
    > Content-Type and Authorization (and X-Api-Key), credentials, and a max-age of 3600.
    """
    allowed = "https://page.example,https://app.example"
    preflight, answer = await both("https://app.example", allowed)
    for headers in (preflight, answer):
        assert headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert headers["Access-Control-Allow-Credentials"] == "true"
    assert preflight["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
    assert preflight["Access-Control-Allow-Headers"] == "Content-Type, Authorization, X-Api-Key"
    assert preflight["Access-Control-Max-Age"] == "3600"
    for headers in await both("https://other.example", allowed):
        assert not {name for name in headers if name.startswith("Access-Control-Allow")}
