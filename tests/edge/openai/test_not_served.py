"""Routes of OpenAI's that are not served here."""

from __future__ import annotations

import aiohttp
import pytest
from tokenwire.edge.openai.not_served import describe_missing

SERVED = "only /v1/chat/completions, /v1/completions and /v1/models"
THERE_ARE = ": there are /v1/chat/completions, /v1/completions and /v1/models"


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/v1/embeddings", "embeddings"),
        ("/v1/audio/speech", "speech"),
        ("/v1/audio/transcriptions", "speech"),
        ("/v1/images/generations", "image generation"),
        ("/v1/files", "files"),
        ("/v1/files/f-1/content", "files"),
        ("/v1/fine_tuning/jobs", "fine-tuning"),
        ("/v1/batches/b-1/cancel", "batches"),
        ("/v1/moderations", "moderations"),
        ("/v1/responses", "responses"),
        ("/v1/assistants", "assistants"),
        ("/v1/threads/t-1/runs", "threads"),
        ("/v1/vector_stores", "vector stores"),
        ("/v1/realtime/sessions", "realtime sessions"),
        ("/v1/uploads", "uploads"),
        ("/v1/messages", "Anthropic messages"),
    ],
)
def test_what_is_known_is_told_by_name(path: str, what: str) -> None:
    """One sentence says what there is not, and what there is."""
    assert describe_missing(path) == f"no route {path}: this server has no {what}, {SERVED}"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1/v1/chat/completions", ": the base URL of a client ends in one /v1"),
        ("/v1/chat/completions/c-1", ": completions are not stored here"),
        ("/v1/chat/completions/", ": there is one without the slash at its end"),
        ("/v1/models/", ": there is one without the slash at its end"),
        ("/v1", THERE_ARE),
        ("/v1/", THERE_ARE),
        ("/v1/chat", THERE_ARE),
        ("/v1/embeddingsx", THERE_ARE),
        ("/v1/chat/embeddings", THERE_ARE),
    ],
)
def test_other_paths(path: str, told: str) -> None:
    """Common mistakes are told, too; whoever asks for what nobody knows is told what there is."""
    assert describe_missing(path) == f"no route {path}{told}"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT"])
async def test_any_method_is_answered_404(
    scripted_http: aiohttp.ClientSession, method: str
) -> None:
    """Whatever the method, in the shape that OpenAI's clients raise."""
    async with scripted_http.request(method, "/v1/files/f-1") as response:
        assert response.status == 404
        assert await response.json() == {
            "error": {
                "message": f"no route /v1/files/f-1: this server has no files, {SERVED}",
                "type": "invalid_request_error",
                "param": None,
                "code": "unknown_url",
            }
        }
