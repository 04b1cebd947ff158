"""Fills the snapshot of one revision: what is here, what is missing, room for it, the mark."""

from __future__ import annotations

import asyncio
import errno
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from ...contract.engine import ReportProgress
from .cache import HubCache, Snapshot
from .client import HubClient
from .fetch import FileFetch, has_right_contents
from .listing import HubFile
from .progress import HubProgress, amount
from .retry import HubFailure, HubLimits, Sleep

_logger = structlog.get_logger(__name__)

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class SnapshotFill:
    """Brings the chosen files of one revision into the cache. Every file has an ETag."""

    def __init__(
        self,
        client: HubClient,
        cache: HubCache,
        *,
        repo: str,
        revision: str,
        files: Sequence[HubFile],
        limits: HubLimits,
        sleep: Sleep,
    ) -> None:
        self._client = client
        self._cache = cache
        self._repo = repo
        self._revision = revision
        self._files = files
        # Equal contents are fetched and kept once.
        self._contents = {_key(file): file for file in files}
        self._limits = limits
        self._sleep = sleep

    async def run(self, selection: str, tell: ReportProgress, *, trusts: bool) -> Snapshot:
        """Fetches what is missing; `trusts` takes what is here in its full size without reading it.

        Raises:
            HubFailure: the hub does not send a file, or there is no room for it.
            OSError: the cache cannot be written.
        """
        start_s = time.monotonic()
        sizes = {key: file.size for key, file in self._contents.items()}
        progress = HubProgress(self._repo, sizes, tell, self._limits)
        missing = [
            file
            for key, file in self._contents.items()
            if not await self._is_here(key, file, progress, trusts=trusts)
        ]
        for file in missing:
            partial = self._cache.partial(self._repo, _key(file))
            here = partial.stat().st_size if partial.is_file() else 0
            progress.found(_key(file), min(here, file.size or 0))
        self._check_room(missing)
        self._cache.mark_started(self._repo, self._revision, selection)
        _logger.info(
            "download_started",
            repo=self._repo,
            revision=self._revision,
            host=self._client.host,
            num_files=len(missing),
            bytes_total=progress.total,
            bytes_here=progress.done,
        )
        try:
            await self._fetch(missing, progress)
            for file in self._files:
                if not self._has_size(self._pointer(file), file):
                    self._cache.link(self._repo, self._revision, file.name, _key(file))
            snapshot = self._cache.snapshot(self._repo, self._revision)
            self._cache.mark_complete(
                self._repo,
                self._revision,
                selection,
                {file.name: (snapshot.path / file.name).stat().st_size for file in self._files},
                {file.name: _key(file) for file in self._files},
            )
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise self._no_room(missing) from error
            raise
        progress.finish()
        lasted_s = time.monotonic() - start_s
        _logger.info(
            "download_finished",
            repo=self._repo,
            revision=self._revision,
            bytes_arrived=progress.num_arrived,
            duration_s=round(lasted_s, 1),
        )
        return snapshot

    async def _fetch(self, missing: Sequence[HubFile], progress: HubProgress) -> None:
        places = asyncio.Semaphore(self._limits.max_connections)

        async def fetch(file: HubFile) -> None:
            key = _key(file)
            async with places:
                await FileFetch(
                    self._client,
                    file,
                    repo=self._repo,
                    revision=self._revision,
                    partial=self._cache.partial(self._repo, key),
                    blob=self._cache.blob(self._repo, key),
                    progress=progress,
                    limits=self._limits,
                    sleep=self._sleep,
                ).run()

        for file in missing:
            # What lies there has another size or other contents than the hub names.
            self._pointer(file).unlink(missing_ok=True)
            blob = self._blob(file)
            blob.unlink(missing_ok=True)
            blob.parent.mkdir(parents=True, exist_ok=True)
        try:
            async with asyncio.TaskGroup() as group:
                for file in missing:
                    group.create_task(fetch(file), name=f"download {file.name}")
        except ExceptionGroup as failures:
            # The first one ended the others.
            raise failures.exceptions[0] from None

    async def _is_here(
        self, key: str, file: HubFile, progress: HubProgress, *, trusts: bool
    ) -> bool:
        for path in (self._pointer(file), self._blob(file)):
            if self._has_size(path, file) and (
                trusts or await has_right_contents(path, file, progress)
            ):
                progress.found(key, path.stat().st_size)
                return True
        return False

    def _has_size(self, path: Path, file: HubFile) -> bool:
        return path.is_file() and file.size in (None, path.stat().st_size)

    def _pointer(self, file: HubFile) -> Path:
        return self._cache.snapshot(self._repo, self._revision).path / file.name

    def _blob(self, file: HubFile) -> Path:
        return self._cache.blob(self._repo, _key(file))

    def _num_missing(self, missing: Sequence[HubFile]) -> int:
        """Adds up the bytes that must still be written, those of broken files taken off."""
        total = 0
        for file in missing:
            here = (self._cache.partial(self._repo, _key(file)), self._blob(file))
            total += (file.size or 0) - sum(p.stat().st_size for p in here if p.is_file())
        return max(total, 0)

    def _check_room(self, missing: Sequence[HubFile]) -> None:
        if self._num_missing(missing) > self._free():
            raise self._no_room(missing)

    def _no_room(self, missing: Sequence[HubFile]) -> HubFailure:
        total = sum(file.size or 0 for file in self._contents.values())
        needed, free = amount(self._num_missing(missing)), amount(self._free())
        return HubFailure(
            f"{self._cache.root} has not enough room: {needed} more are needed (of "
            f"{amount(total)}), {free} are free",
            "make room, or set HF_HOME to a folder on a larger disk; what has arrived is kept",
        )

    def _free(self) -> int:
        folder = self._cache.root
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free


def _key(file: HubFile) -> str:
    assert file.etag is not None  # described before
    return file.etag
