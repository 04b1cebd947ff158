"""Paths that are no routes here, and where their callers find what they mean."""

from __future__ import annotations

from ..dialect import no_route
from .ollama import INSTEAD, ROUTES

_OLLAMA = "/api/"
_OPENAI_ROUTES = ("chat/completions", "completions", "models", "embeddings", "responses")
# What clients ask below whose base URL lacks the `/v1`, or is that of another server.
_WRONG_BASES = ("/", "/api/", "/api/v1/", "/openai/", "/openai/v1/")
_AZURE = "/openai/deployments/"
# Where other servers have what is here under another name.
_OTHER_NAMES = {
    **dict.fromkeys(("/docs", "/redoc", "/swagger", "/swagger-ui.html"), "/swagger-ui"),
    **dict.fromkeys(("/openapi.json", "/swagger.json"), "/api/openapi.json"),
    **dict.fromkeys(("/health", "/healthz", "/livez", "/ping"), "/health/live"),
    **dict.fromkeys(("/ready", "/readyz", "/health_generate"), "/health/ready"),
}


def describe_missing(path: str) -> str:
    """Says that there is no such route, and of routes of other servers where to go."""
    sentence = no_route(path)
    if path in _OTHER_NAMES:
        return f"{sentence}: there is {_OTHER_NAMES[path]}"
    if path.startswith(_OLLAMA) and path.removeprefix(_OLLAMA).split("/", 1)[0] in ROUTES:
        return f"{sentence}: it belongs to {INSTEAD}"
    if _is_openai(path):
        return f"{sentence}: OpenAI's routes are below /v1, in which the base URL of a client ends"
    return sentence


def _is_openai(path: str) -> bool:
    return path.startswith(_AZURE) or any(
        path.startswith(base + route) and path.removeprefix(base + route)[:1] in ("", "/")
        for base in _WRONG_BASES
        for route in _OPENAI_ROUTES
    )
