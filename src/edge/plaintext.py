"""Keys that anyone on the way can read."""

from __future__ import annotations

import structlog
from aiohttp import web

from ..listening import is_loopback
from .context import CONTEXT

_logger = structlog.get_logger(__name__)


class PlaintextKeys:
    """Warns once, when the first key comes without TLS where other machines can send one.

    Which keys there are, and whether any, the front alone knows.
    """

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        self._is_due = not is_loopback(hostname)

    def record(self, request: web.Request) -> None:
        """Looks at a request, which has its context."""
        if self._is_due and request[CONTEXT].credentials and not request.secure:
            self._is_due = False
            _logger.warning(
                "keys_over_plaintext",
                hostname=self._hostname,
                advice="set SERVER_SSL_ENABLED, or listen on 127.0.0.1 behind what ends TLS",
            )
