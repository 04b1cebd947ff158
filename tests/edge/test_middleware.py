"""What surrounds every handler: ids and errors."""

from __future__ import annotations

import aiohttp
import pytest


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("POST", "/api/generate", 400), ("GET", "/api/chat", 405)],
)
async def test_errors_carry_the_request_id(
    scripted_http: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    """Every error has the request id, the edge's own included."""
    headers = {"X-Request-Id": "e1"}
    async with scripted_http.request(method, path, headers=headers, json={}) as response:
        assert response.status == status
        assert response.headers["X-Request-Id"] == "e1"


async def test_an_unknown_path_is_a_json_404(scripted_http: aiohttp.ClientSession) -> None:
    """An unknown path answers in the shape of every error."""
    async with scripted_http.get("/api/nothing") as response:
        assert response.status == 404
        assert await response.json() == {"error": "no route /api/nothing", "code": "NOT_FOUND"}


async def test_a_wrong_method_is_a_json_405(scripted_http: aiohttp.ClientSession) -> None:
    """A wrong method says which one is right, in text and in `Allow`."""
    async with scripted_http.get("/api/chat") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert await response.json() == {
            "error": "GET is not allowed on /api/chat, POST is",
            "code": "METHOD_NOT_ALLOWED",
        }


async def test_canonical_paths_answer_in_their_own_shape(
    scripted_http: aiohttp.ClientSession,
) -> None:
    """Under the proto's own prefix routing errors are google.rpc.Status too."""
    async with scripted_http.get("/tokenwire/v1/nothing") as response:
        assert response.status == 404
        assert (await response.json())["code"] == 5
