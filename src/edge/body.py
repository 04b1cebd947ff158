"""Request bodies: bounded in size and time, JSON objects only."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, cast

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from .errors import EdgeError, invalid

BODY_FIELD = "body"
_MAX_SHOWN = 100


@dataclass(frozen=True, slots=True)
class BodyReader:
    """Reads the JSON body of a request. The size is bounded by the application itself."""

    timeout_s: float

    async def read_object(self, request: web.Request) -> dict[str, Any]:
        """Returns the JSON object that the request carries.

        Raises:
            EdgeError: not JSON by its header, too slow, not JSON, or not an object.
            HTTPRequestEntityTooLarge: more bytes than the application takes.
        """
        _require_json(request)
        try:
            async with asyncio.timeout(self.timeout_s):
                data = await request.read()
        except TimeoutError:
            raise EdgeError(
                "CLIENT_TIMEOUT", f"the body did not arrive within {self.timeout_s:g} s"
            ) from None
        except web.RequestPayloadError:
            raise invalid(BODY_FIELD, "broken off, or not encoded as its headers say") from None
        return parse_object(data)


def parse_object(data: bytes) -> dict[str, Any]:
    """Parses a JSON object. Of duplicate keys the last one counts.

    Raises:
        EdgeError: not UTF-8, not JSON (NaN included), nested too deep, or not an object.
    """
    try:
        value: object = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise invalid(BODY_FIELD, f"is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise invalid(BODY_FIELD, "must be a JSON object")
    return cast("dict[str, Any]", value)


def _require_json(request: BaseRequest) -> None:
    if "Content-Type" not in request.headers:
        return
    given = request.content_type
    if given != "application/json" and not given.endswith("+json"):
        raise EdgeError(
            "UNSUPPORTED_MEDIA_TYPE",
            f"Content-Type must be application/json, got {given[:_MAX_SHOWN]}",
        )
