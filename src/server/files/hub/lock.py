"""Keeps two downloads of one repository into one cache apart, also those of other processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog
from filelock import FileLock, Timeout

from ...contract.engine import LoadProgress, ReportProgress
from .cache import HubCache
from .progress import amount
from .retry import HubFailure, HubLimits

_logger = structlog.get_logger(__name__)


@asynccontextmanager
async def hub_lock(
    cache: HubCache, repo: str, limits: HubLimits, tell: ReportProgress
) -> AsyncGenerator[bool]:
    """Holds the lock of a repository; yields whether another download had to be waited for.

    Whoever holds it may take as long as it gets on. The system frees the lock of a process that
    was killed.

    Raises:
        HubFailure: the other one brought nothing for `limits.lock_stall_s`.
        OSError: the cache cannot be written.
    """
    file = cache.lock_file(repo)
    file.parent.mkdir(parents=True, exist_ok=True)
    # 0o664: several users may share a cache, as with the locks of huggingface_hub.
    lock = FileLock(file, timeout=0, mode=0o664)
    has_waited = False
    num_bytes, grew_s = -1, time.monotonic()
    while True:
        try:
            lock.acquire()
            break
        except NotImplementedError:
            # Some network file systems know no locks. Contents are checked before they are used.
            _logger.warning("download_without_lock", repo=repo, folder=str(cache.root))
            break
        except Timeout:
            has_waited = True
        here = cache.num_bytes(repo)
        if here != num_bytes:
            num_bytes, grew_s = here, time.monotonic()
            tell(
                LoadProgress(
                    "waiting for another server that fetches it", None, f"{amount(here)} so far"
                )
            )
        if time.monotonic() - grew_s > limits.lock_stall_s:
            raise HubFailure(
                f"another process has held {file} for {limits.lock_stall_s:.0f} s and fetched "
                "nothing",
                "end it, and start this server again",
            )
        # A lock of the file system tells nobody that it is free: it must be asked for again.
        await asyncio.sleep(limits.lock_poll_s)
    try:
        yield has_waited
    finally:
        lock.release()
