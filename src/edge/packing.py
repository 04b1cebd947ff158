"""Whole answers, compressed for clients that take it."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from aiohttp import web
from aiohttp.web_request import BaseRequest

# Below it the header costs about what is saved, and the answer is one packet either way.
_MIN_BYTES: Final = 1024
# Takes zlib some 2 ms; more is left to a thread.
_LARGE_BYTES: Final = 64 * 1024
_LEVEL: Final = 6
_MAX_KEPT: Final = 16
_TYPES: Final = ("text/", "application/json", "application/openmetrics-text", "image/svg+xml")
_ANY: Final = "*"


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, _LEVEL, mtime=0)


def _deflate(body: bytes) -> bytes:
    return zlib.compress(body, _LEVEL)


# In the order of our own preference.
_PACKERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {"gzip": _gzip, "deflate": _deflate}


class Packer:
    """Compresses the bodies of whole answers, and keeps those of files, which are few."""

    def __init__(self) -> None:
        self._pack_once = lru_cache(maxsize=_MAX_KEPT)(_pack)

    async def pack(self, request: BaseRequest, response: web.StreamResponse) -> None:
        """Compresses the body of an answer where that is worth it and the client takes it.

        Streams are left alone: an event would wait in the compressor for the next one. What an
        attacker learns from the length of compressed answers (BREACH) needs a secret and his own
        text in one answer, and a victim's browser that fetches it with the victim's rights. No
        answer holds a key, and no browser adds one by itself: keys are headers, and there are no
        cookies.
        """
        if not isinstance(response, web.Response) or not response.content_type.startswith(_TYPES):
            return
        body, headers = response.body, response.headers
        if not isinstance(body, bytes) or len(body) < _MIN_BYTES or "Content-Encoding" in headers:
            return
        headers.add("Vary", "Accept-Encoding")
        coding = choose_coding(", ".join(request.headers.getall("Accept-Encoding", [])))
        if coding is None:
            return
        if "public" in headers.get("Cache-Control", ""):  # the same for everyone, again and again
            response.body = await asyncio.to_thread(self._pack_once, body, coding)
        elif len(body) > _LARGE_BYTES:
            response.body = await asyncio.to_thread(_pack, body, coding)
        else:
            response.body = _pack(body, coding)
        headers["Content-Encoding"] = coding


def _pack(body: bytes, coding: str) -> bytes:
    return _PACKERS[coding](body)


def choose_coding(accepted: str) -> str | None:
    """Returns the coding that a client wants most, None where it wants its answer as it is.

    RFC 9110, section 12.5.3: q=0 refuses, `*` stands for those that are not named.
    """
    weights: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip()] = _weight(parameter)
    best = max(_PACKERS, key=lambda coding: weights.get(coding, weights.get(_ANY, 0.0)))
    weight = weights.get(best, weights.get(_ANY, 0.0))
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def _weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
