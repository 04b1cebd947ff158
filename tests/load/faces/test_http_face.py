"""What the HTTP doors have in common."""

from __future__ import annotations

from typing import Any, NoReturn

import aiohttp
import pytest
from tokenwire.load.faces.face import RequestFailed
from tokenwire.load.faces.http_face import HttpSession, message_of

from ..scripted_openai import ScriptedOpenAi, serving


class LosingSession:
    """Keeps connections, all of which turn out to be lost."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.num_requests = 0

    async def request(self, *_: object, **__: object) -> NoReturn:
        self.num_requests += 1
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientOSError(104, "reset"),
        aiohttp.ClientConnectionResetError("closing"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_lost_connection_loses_no_request(error: Exception) -> None:
    """In whichever way it shows, the request is sent again, and those behind it on fresh ones."""
    losing: Any = LosingSession(error)
    async with serving(ScriptedOpenAi()) as url, aiohttp.ClientSession() as fresh:
        session = HttpSession(losing, fresh, url)
        for _ in range(3):
            assert (await session.get("/v1/models"))["data"]
    assert losing.num_requests == 1


async def test_timeout_is_not_sent_again() -> None:
    """A server that is too slow has the request already."""
    losing: Any = LosingSession(aiohttp.ServerTimeoutError())
    async with serving(ScriptedOpenAi()) as url, aiohttp.ClientSession() as fresh:
        with pytest.raises(RequestFailed) as caught:
            await HttpSession(losing, fresh, url).get("/v1/models")
    assert caught.value.kind == "timeout"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "m", "type": "t", "code": None}}, ("t", "m")),
        ({"error": {"message": "m", "type": "t", "code": "c"}}, ("c", "m")),
        ({"error": "Bad request: x", "code": "BAD_REQUEST"}, ("BAD_REQUEST", "Bad request: x")),
        ({"error": "short", "message": "long", "code": "C"}, ("C", "long")),
        ({"detail": "x"}, ("", "{'detail': 'x'}")),
        (["x"], ("", "['x']")),
    ],
)
def test_errors_of_every_dialect(body: object, said: tuple[str, str]) -> None:
    """Code and words: OpenAI's, those of `/api`, of its streams, and what is none of them."""
    assert message_of(body) == said
