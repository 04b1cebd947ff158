"""Keys that anyone on the way can read."""

from __future__ import annotations

import structlog

from ...listening import is_loopback

_logger = structlog.get_logger(__name__)


def warn_of_plaintext(hostname: str) -> None:
    """Warns where keys come in plain text, and from other machines."""
    if not is_loopback(hostname):
        _logger.warning(
            "keys_over_plaintext",
            hostname=hostname,
            advice="set SERVER_SSL_ENABLED, or listen on 127.0.0.1 behind what ends TLS",
        )
