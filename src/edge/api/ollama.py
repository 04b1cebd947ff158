"""Callers of Ollama's API, whose `/api/chat` and `/api/generate` are other routes than ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from aiohttp import web

from ..errors import invalid

T = TypeVar("T")

INSTEAD = "Ollama's API, which is not served here: use OpenAI's, whose base URL ends in /v1"
# Its routes that are no routes of ours at all: the first word behind `/api/`.
ROUTES = frozenset(
    {
        *("tags", "show", "ps", "version", "pull", "push", "create", "copy", "delete", "blobs"),
        *("embed", "embeddings", "me", "signin", "signout", "web_search", "web_fetch"),
    }
)
_NDJSON = "application/x-ndjson"


def unless_ollama(
    request: web.Request, decode: Callable[[dict[str, Any]], T]
) -> Callable[[dict[str, Any]], T]:
    """Returns a `decode` that first refuses what is meant for Ollama.

    Its clients would find nothing in our answer, or wait for lines that never come. Only what
    nobody else sends counts: its clients by their names, and fields that exist in no other API,
    with a value that asks for something. `options` counts also while it is empty: clients that are
    built on its API send it always.
    """

    def decode_unless(body: dict[str, Any]) -> T:
        found = [*_headers(request.headers), *_fields(body)]
        if found:
            verb = "belongs to" if len(found) == 1 else "belong to"
            raise invalid(", ".join(found), f"{verb} {INSTEAD}")
        return decode(body)

    return decode_unless


def _headers(headers: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    # `ollama-python/0.6.1 …`, `ollama-js/0.6.3 …`, `ollama/0.13.0 …` of the program itself.
    if headers.get("User-Agent", "").lower().startswith("ollama"):
        found.append("the header User-Agent")
    # Alone: others name it behind JSON, and are content with that.
    if headers.get("Accept", "").lower() == _NDJSON:
        found.append("the header Accept")
    return found


def _fields(body: Mapping[str, Any]) -> list[str]:
    found = [name for name, is_meant in _MARKS.items() if is_meant(body.get(name))]
    messages = body.get("messages")
    if isinstance(messages, list):
        found += [
            f"messages[{index}].images"
            for index, message in enumerate(cast("list[object]", messages))
            if isinstance(message, dict)
            and _is_images(cast("dict[str, Any]", message).get("images"))
        ][:1]
    return found


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_images(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(v, str) for v in cast("list[object]", value))


def _is_context(value: object) -> bool:
    """Says whether this is a conversation so far, as token ids; a text is somebody else's."""
    return isinstance(value, list) and any(isinstance(v, int) for v in cast("list[object]", value))


_MARKS: Mapping[str, Callable[[object], bool]] = {
    "options": _is_object,
    "keep_alive": lambda value: value is not None,
    "format": lambda value: value == "json" or (_is_object(value) and value != {}),
    "images": _is_images,
    "context": _is_context,
    "raw": lambda value: value is True,
    "think": lambda value: value is True or value in ("low", "medium", "high"),
}
