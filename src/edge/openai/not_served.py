"""Routes of OpenAI's API, and of servers that speak it, which are not served here."""

from __future__ import annotations

from collections.abc import Mapping

from ..dialect import no_route

_PREFIX = "/v1/"
# By the first word behind the prefix: what is asked for, with any method and anything behind it.
_NOT_SERVED: Mapping[str, str] = {
    "embeddings": "embeddings",
    "audio": "speech",
    "images": "image generation",
    "videos": "video generation",
    "files": "files",
    "uploads": "uploads",
    "fine_tuning": "fine-tuning",
    "fine-tunes": "fine-tuning",
    "batches": "batches",
    "moderations": "moderations",
    "responses": "responses",
    "conversations": "stored conversations",
    "assistants": "assistants",
    "threads": "threads",
    "vector_stores": "vector stores",
    "realtime": "realtime sessions",
    "evals": "evals",
    "graders": "graders",
    "containers": "containers",
    "chatkit": "ChatKit",
    "skills": "skills",
    "engines": "engines",
    "edits": "edits",
    "organization": "administration of an organization",
    "projects": "administration of projects",
    "messages": "Anthropic messages",
    "rerank": "reranking",
    "score": "scores",
    "classify": "classification",
    "pooling": "pooling",
}
_SERVED = ("/v1/chat/completions", "/v1/completions", "/v1/models")
_STORED = f"{_SERVED[0]}/"


def describe_missing(path: str) -> str:
    """Says of `/v1` or a path below it that there is no such route, and which there are."""
    sentence = no_route(path)
    behind = path.removeprefix(_PREFIX)
    if behind.startswith("v1/"):
        return f"{sentence}: the base URL of a client ends in one /v1"
    if path.endswith("/") and path.rstrip("/") in _SERVED:
        return f"{sentence}: there is one without the slash at its end"
    if path.startswith(_STORED):
        return f"{sentence}: completions are not stored here"
    *served, last = _SERVED
    routes = f"{', '.join(served)} and {last}"
    what = _NOT_SERVED.get(behind.split("/", 1)[0])
    if what is None:
        return f"{sentence}: there are {routes}"
    return f"{sentence}: this server has no {what}, only {routes}"
