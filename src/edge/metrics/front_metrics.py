"""The metrics of the front, as the edge fetches them."""

from __future__ import annotations

from collections.abc import Iterable

import aiohttp
import structlog

from .page import has_metrics

Credentials = Iterable[tuple[str, str]]

_logger = structlog.get_logger(__name__)

# The front gives its engines half of it.
_TIMEOUT_S = 1.0


class FrontMetrics:
    """Fetches the metrics of the front.

    `is_up`: the last time they came, in time and in the form that was asked for.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.is_up = False
        self._has_told = False
        self._session = session
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)

    async def fetch(self, content_type: str, credentials: Credentials = ()) -> bytes:
        """Returns the front's page in the form that `content_type` names; empty without one.

        `credentials` are the caller's headers: the front may ask for a key.
        """
        try:
            page = await self._get({"Accept": content_type, **dict(credentials)}, content_type)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self._record(is_up=False, why=type(error).__name__)
            return b""
        if not has_metrics(page):
            self._record(is_up=False, why="no metrics in the answer")
            return b""
        self._record(is_up=True)
        return page

    async def _get(self, headers: dict[str, str], content_type: str) -> bytes:
        async with self._session.get(self._url, headers=headers, timeout=self._timeout) as response:
            response.raise_for_status()
            if response.content_type != content_type.partition(";")[0]:
                return b""  # another form cannot stand on one page with ours
            return await response.read()

    def _record(self, *, is_up: bool, why: str = "") -> None:
        self.is_up = is_up
        # Once in a row: scrapes come every few seconds.
        if not is_up and not self._has_told:
            _logger.warning("front_metrics_unreadable", target=self._url, reason=why)
        self._has_told = not is_up
