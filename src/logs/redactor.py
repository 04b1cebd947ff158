"""Hides secrets in log events."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, MutableMapping
from typing import Any, Final

HIDDEN: Final = "(hidden)"
_SECRET_KEY: Final = re.compile(r"(?i)token$|secret|password|authorization|api_key|cookie")
_SECRET_TEXT: Final = re.compile(
    r"\bhf_[A-Za-z0-9]{8,}\b|\btw_[0-9a-f]{16}_[\w-]+|(?i:(?<=bearer )\S+)"
)


class Redactor:
    """Hides values whose name or form says that they are secret, and every text in `secrets`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = [re.escape(secret) for secret in secrets if secret]
        self._text = re.compile("|".join([_SECRET_TEXT.pattern, *known]))

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Processes one event, as structlog asks for it."""
        for key, value in event.items():
            if _is_secret(key) and value:
                event[key] = HIDDEN
            elif isinstance(value, str):
                event[key] = self._text.sub(HIDDEN, value)
        return event


@functools.lru_cache(maxsize=1024)  # names of fields are few; this is a quarter of a line's cost
def _is_secret(name: str) -> bool:
    return _SECRET_KEY.search(name) is not None
