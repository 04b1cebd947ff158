"""Keeps two downloads of one repository into one cache apart, also those of other processes.

The file system is asked for a lock first. Some have none, and some grant it to everybody. So each
download also writes partial files of its own, `<etag>.<kernel>-<download>.incomplete`, and takes
its name off them when it ends: `<etag>.incomplete` is anybody's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import platform
import re
import time
import uuid
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from filelock import FileLock, Timeout

from ...contract.load_progress import LoadProgress, ReportProgress
from .cache import HubCache
from .progress import amount
from .retry import HubFailure, HubLimits

_logger = structlog.get_logger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NAME = re.compile(r"(?P<etag>.+?)(\.(?P<kernel>[0-9a-f]{8})-[0-9a-f]{8})?\.incomplete")
# huggingface_hub never takes up what it left, and nobody knows whether it still writes it.
_NOT_OURS = re.compile(r".+\.[0-9a-f]{8}\.incomplete")
# What file systems of a network answer that were mounted without locks.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)
_WAITING = "waiting for another server that fetches it"


@asynccontextmanager
async def hub_lock(
    cache: HubCache, repo: str, limits: HubLimits, report: ReportProgress
) -> AsyncGenerator[Partials]:
    """Holds the lock of a repository, where the file system has one, and gives its partial files.

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
    while (is_held := _try(lock)) is False:
        has_waited = True
        here = cache.num_bytes(repo)
        if here != num_bytes:
            num_bytes, grew_s = here, time.monotonic()
            report(LoadProgress(_WAITING, None, f"{amount(here)} so far"))
        if time.monotonic() - grew_s > limits.lock_stall_s:
            raise HubFailure(
                f"another process has held its lock for {limits.lock_stall_s:.0f} s and fetched "
                "nothing",
                "end it, and start this server again",
                f"the lock is {file}",
            )
        # Nobody hears that a lock of the file system is free: it must be asked for again.
        await asyncio.sleep(limits.lock_poll_s)
    try:
        # A lock that is granted twice is none.
        is_alone = is_held is True and _try(FileLock(file, timeout=0)) is False
        if not is_alone:
            _logger.warning("download_without_lock", repo=repo, folder=str(cache.root))
        partials = Partials(cache.blobs(repo), limits, has_waited=has_waited, is_alone=is_alone)
        async with partials.kept():
            report(LoadProgress("looking for what has arrived before"))
            await partials.survey()
            yield partials
    finally:
        lock.release()


def _try(lock: FileLock) -> bool | None:
    """Returns whether the lock is held now; None where the file system has none."""
    try:
        lock.acquire()
    except Timeout:
        return False
    except NotImplementedError:
        return None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


class Partials:
    """The partial files of one download, which nobody else writes.

    `has_waited`: another download had to be waited for. `is_alone`: a lock keeps all others of
    this machine out.
    """

    def __init__(
        self, blobs: Path, limits: HubLimits, *, has_waited: bool = False, is_alone: bool = False
    ) -> None:
        self.has_waited = has_waited
        self._blobs = blobs
        self._limits = limits
        self._is_alone = is_alone
        self._kernel = _kernel()
        self._ending = f".{self._kernel}-{uuid.uuid4().hex[:8]}.incomplete"
        self._abandoned: list[tuple[int, str, Path]] = []

    @asynccontextmanager
    async def kept(self) -> AsyncGenerator[Partials]:
        """Shows others that the files are written, and in the end leaves them to anybody."""
        beating = asyncio.create_task(self._beat(), name="heartbeat of partial files")
        try:
            yield self
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating
            for file in self._own():
                file.replace(file.with_name(file.name.removesuffix(self._ending) + ".incomplete"))

    async def survey(self) -> None:
        """Finds the partial files that nobody writes any more.

        Under one kernel everybody keeps a lock, and it is freed when a process dies. What others
        left is watched for `limits.abandoned_s`: whoever writes a file changes it.
        """
        found: list[tuple[int, str, Path]] = []
        doubtful: dict[Path, int] = {}
        for file in self._blobs.glob("*.incomplete"):
            name, state = _NAME.fullmatch(file.name), _state(file)
            if name is None or state is None or _NOT_OURS.fullmatch(file.name):
                continue
            found.append((state.st_size, name["etag"], file))
            if name["kernel"] and not (self._is_alone and name["kernel"] == self._kernel):
                doubtful[file] = state.st_mtime_ns
        changed = set[Path]()
        end_s = time.monotonic() + self._limits.abandoned_s
        while doubtful.keys() - changed and time.monotonic() < end_s:
            await asyncio.sleep(self._limits.lock_poll_s)
            for file, before_ns in doubtful.items():
                state = _state(file)
                if state is None or state.st_mtime_ns != before_ns:
                    changed.add(file)
        self._abandoned = sorted(item for item in found if item[2] not in changed)

    def take(self, etag: str) -> Path:
        """Returns the file for the contents of an ETag, with the most that others left of them."""
        own = self._blobs / f"{etag}{self._ending}"
        for _, name, file in self._abandoned:
            if name == etag:
                with contextlib.suppress(FileNotFoundError):  # another process has just taken it
                    file.replace(own)
        return own

    def remove_stale(self, etags: Collection[str | None]) -> None:
        """Deletes what was left of the contents of other ETags."""
        for _, etag, file in self._abandoned:
            if etag not in etags:
                file.unlink(missing_ok=True)

    def _own(self) -> Iterator[Path]:
        return self._blobs.glob(f"*{self._ending}")

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._limits.heartbeat_s)
            for file in self._own():
                with contextlib.suppress(FileNotFoundError):  # it has just become whole
                    os.utime(file)


def _state(file: Path) -> os.stat_result | None:
    with contextlib.suppress(FileNotFoundError):  # it has just become whole
        return file.stat()
    return None


def _kernel() -> str:
    """Names the running kernel, which containers share, until it is started anew."""
    try:
        words = _BOOT_ID.read_text()
    except OSError:  # not Linux
        words = platform.node()
    return hashlib.sha256(words.encode()).hexdigest()[:8]
