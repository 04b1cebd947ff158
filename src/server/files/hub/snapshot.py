"""Fills the snapshot of one revision: what is here, what is missing, room for it, the mark."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from .answers import HubFile
from .cache import HubCache, Snapshot
from .client import HubClient
from .fetch import FileFetch, has_right_contents
from .partials import Partials
from .progress import HubProgress, amount
from .retry import HubFailure, HubLimits, RetryBudget, Sleep

_logger = structlog.get_logger(__name__)

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class SnapshotFill:
    """Brings the chosen files of one revision into the cache. Every file has an ETag."""

    client: HubClient
    cache: HubCache
    snapshot: Snapshot
    files: Sequence[HubFile]
    partials: Partials
    progress: HubProgress
    limits: HubLimits
    sleep: Sleep

    @property
    def repo(self) -> str:
        """The repository."""
        return self.client.place.repo

    async def run(self, selection: str, *, trusts: bool) -> Snapshot:
        """Fetches what is missing; `trusts` takes what is here in its full size without reading it.

        Raises:
            HubFailure: the hub does not send a file, or there is no room for it.
            OSError: the cache cannot be written.
        """
        start_s = time.monotonic()
        # Equal contents are fetched and kept once.
        contents = {_key(file): file for file in self.files}.values()
        missing = [file for file in contents if not await self._is_here(file, trusts=trusts)]
        for file in missing:
            if (file.size or 0) > self.limits.max_file_bytes:
                raise self.client.too_large(file)
        self.cache.blobs(self.repo).mkdir(parents=True, exist_ok=True)
        partials = {file: self.partials.take(_key(file)) for file in missing}
        for file, partial in partials.items():
            self.progress.found(file, min(_num_bytes(partial), file.size or 0))
        if self._num_missing(partials) > self._free():
            raise self._no_room(partials)
        repo, revision, progress = self.repo, self.snapshot.revision, self.progress
        self.cache.mark_started(repo, revision, selection)
        _logger.info(
            "download_started",
            repo=repo,
            revision=revision,
            host=self.client.place.host,
            num_files=len(missing),
            bytes_total=progress.total,
            bytes_here=progress.done,
        )
        try:
            await self._fetch(partials)
            for file in self.files:
                if file in partials or not self._has_size(self.snapshot.path / file.name, file):
                    self.cache.link(repo, revision, file.name, _key(file))
            etags = {file.name: _key(file) for file in self.files}
            self.cache.mark_complete(repo, revision, selection, etags, self.client.place.reference)
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise self._no_room(partials) from error
            raise
        progress.finish()
        _logger.info(
            "download_finished",
            repo=repo,
            revision=revision,
            bytes_arrived=progress.num_arrived,
            duration_s=round(time.monotonic() - start_s, 1),
        )
        return self.snapshot

    async def _fetch(self, partials: Mapping[HubFile, Path]) -> None:
        places = asyncio.Semaphore(self.limits.max_connections)

        def budget() -> RetryBudget:
            return RetryBudget(self.repo, self.limits, self.progress.waiting, self.sleep)

        async def fetch(file: HubFile, partial: Path) -> None:
            async with places:
                await FileFetch(
                    self.client,
                    self.snapshot.revision,
                    file,
                    partial=partial,
                    blob=self.cache.blobs(self.repo) / _key(file),
                    progress=self.progress,
                    limits=self.limits,
                    budget=budget(),
                ).run()

        try:
            async with asyncio.TaskGroup() as group:
                for file, partial in partials.items():
                    group.create_task(fetch(file, partial), name=f"download {file.name}")
        except ExceptionGroup as failures:
            # The first one ended the others.
            raise failures.exceptions[0] from None

    async def _is_here(self, file: HubFile, *, trusts: bool) -> bool:
        """Whether the contents lie in the cache; those that are not right are deleted."""
        for path in (self.snapshot.path / file.name, self.cache.blobs(self.repo) / _key(file)):
            if not path.is_file():
                continue
            judged = path.stat()
            if self._has_size(path, file) and (
                trusts or await has_right_contents(path, file, self.progress)
            ):
                self.progress.found(file, judged.st_size)
                return True
            # Not what another process may have put there meanwhile.
            if os.path.samestat(judged, path.stat()):
                path.unlink()
        return False

    def _has_size(self, path: Path, file: HubFile) -> bool:
        return path.is_file() and file.size in (None, path.stat().st_size)

    def _no_room(self, partials: Mapping[HubFile, Path]) -> HubFailure:
        needed, total = amount(self._num_missing(partials)), amount(self.progress.total)
        return HubFailure(
            f"the cache has not enough room: {needed} more are needed (of {total}), "
            f"{amount(self._free())} are free",
            "make room, or set HF_HOME or HF_HUB_CACHE to a folder on a larger disk; what has "
            "arrived is kept",
            f"the cache is {self.cache.root}",
        )

    def _num_missing(self, partials: Mapping[HubFile, Path]) -> int:
        return sum(max((f.size or 0) - _num_bytes(partial), 0) for f, partial in partials.items())

    def _free(self) -> int:
        return shutil.disk_usage(self.cache.root).free


def _key(file: HubFile) -> str:
    assert file.etag is not None  # described before
    return file.etag


def _num_bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
