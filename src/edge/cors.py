"""Which browser pages may call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web
from aiohttp.web_request import BaseRequest

from .context import REQUEST_ID_HEADER

_MAX_AGE_S = 3600
_HEADER_NAMES = re.compile(r"[A-Za-z0-9_, -]{1,1024}")
_EXPOSED = f"{REQUEST_ID_HEADER}, Retry-After, openai-processing-ms"


@dataclass(frozen=True, slots=True)
class Cors:
    """The origins that may call: `*` is any, and never has credentials."""

    allowed_origins: tuple[str, ...]

    def preflight(self, request: web.Request) -> web.Response | None:
        """Answers a preflight request; None for every other one."""
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        response = web.Response(status=204)
        if self._is_any:
            # `*` as the header list would leave out Authorization: the asked ones are repeated.
            asked = request.headers.get("Access-Control-Request-Headers", "")
            response.headers["Access-Control-Allow-Methods"] = "*"
            response.headers["Access-Control-Allow-Headers"] = (
                asked if _HEADER_NAMES.fullmatch(asked) else "*"
            )
            response.headers["Vary"] = "Access-Control-Request-Headers"
        elif self._is_allowed(request.headers):
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
            response.headers["Access-Control-Allow-Headers"] = (
                "Content-Type, Authorization, X-Api-Key"
            )
        response.headers["Access-Control-Max-Age"] = str(_MAX_AGE_S)
        return response

    def add_headers(self, request: BaseRequest, response: web.StreamResponse) -> None:
        """Adds what a browser needs to see the response."""
        headers = response.headers
        if self._is_any:
            headers["Access-Control-Allow-Origin"] = "*"
            headers["Access-Control-Expose-Headers"] = _EXPOSED
            return
        headers.add("Vary", "Origin")
        if self._is_allowed(request.headers):
            headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            headers["Access-Control-Allow-Credentials"] = "true"
            headers["Access-Control-Expose-Headers"] = _EXPOSED

    @property
    def _is_any(self) -> bool:
        return "*" in self.allowed_origins

    def _is_allowed(self, headers: Mapping[str, str]) -> bool:
        return headers.get("Origin") in self.allowed_origins
