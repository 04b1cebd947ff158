"""Paths that are no routes here."""

from __future__ import annotations

import aiohttp
import pytest
from tokenwire.edge.api.missing import describe_missing

OLLAMA = (
    "it belongs to Ollama's API, which is not served here: use OpenAI's, whose base URL ends in /v1"
)
OPENAI = "OpenAI's routes are below /v1, in which the base URL of a client ends"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "HEAD"])
@pytest.mark.parametrize(
    "path", ["/api/tags", "/api/show", "/api/ps", "/api/version", "/api/pull", "/api/embed"]
)
async def test_ollamas_routes(scripted_http: aiohttp.ClientSession, path: str, method: str) -> None:
    """Whatever Ollama's clients ask first is a 404 that says where they are."""
    async with scripted_http.request(method, path) as response:
        assert response.status == 404
        if method != "HEAD":
            assert await response.json() == {
                "error": f"no route {path}: {OLLAMA}",
                "code": "NOT_FOUND",
            }


@pytest.mark.parametrize(
    "path",
    [
        "/chat/completions",
        "/models",
        "/models/gpt-4",
        "/api/chat/completions",
        "/api/v1/chat/completions",
        "/api/v1/models",
        "/openai/v1/responses",
        "/openai/deployments/gpt-4/chat/completions",
    ],
)
async def test_openais_routes_without_their_prefix(
    scripted_http: aiohttp.ClientSession, path: str
) -> None:
    """Clients of OpenAI whose base URL lacks `/v1` are told so."""
    async with scripted_http.post(path, json={}) as response:
        assert response.status == 404
        assert (await response.json())["error"] == f"no route {path}: {OPENAI}"


@pytest.mark.parametrize(
    ("path", "instead"),
    [
        ("/docs", "/swagger-ui"),
        ("/openapi.json", "/api/openapi.json"),
        ("/healthz", "/health/live"),
        ("/readyz", "/health/ready"),
    ],
)
async def test_other_names_of_what_is_here(
    scripted_http: aiohttp.ClientSession, path: str, instead: str
) -> None:
    """Whoever knows other servers is told our name of it, which is there."""
    async with scripted_http.get(path) as response:
        assert response.status == 404
        assert (await response.json())["error"] == f"no route {path}: there is {instead}"
    async with scripted_http.get(instead) as response:
        assert response.status != 404


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/", "/api/tagss", "/tags", "/api/chats", "/modelsx", "/embed"]
)
def test_all_others_are_told_no_more(path: str) -> None:
    """A path that means nothing to us is told as it is."""
    assert describe_missing(path) == f"no route {path}"
