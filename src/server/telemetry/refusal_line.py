"""The log line of a call that was refused for want of a key, of rights or of quota."""

from __future__ import annotations

import structlog

from ..contract.errors import AccessRefused

_logger = structlog.get_logger(__name__)


def log_refusal(error: AccessRefused, method: str, peer: str) -> None:
    """Logs who was refused what; the name of the key is left out where nobody knows it."""
    name = {"key": error.key} if error.key else {}
    _logger.info("access_refused", **name, peer=peer, method=method, reason=error.reason)
