"""Fetches the files of one model from the hub, or from a mirror of it, into the cache."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import structlog

from ...contract.errors import ModelLoadFailed
from ...contract.load_progress import LoadProgress, ReportProgress
from .answers import DEFAULT_BRANCH, HubFile, Listing, is_harmless, is_inside
from .cache import HubCache, Snapshot
from .client import HubAccess, HubClient
from .fetch import FileFetch, has_right_contents
from .partials import Partials, hub_lock
from .progress import HubProgress, amount
from .retry import HubFailure, HubLimits, RetryBudget, Sleep

_logger = structlog.get_logger(__name__)

_T = TypeVar("_T")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# The end of what is not wanted any more: it closes sockets and files, and waits for nobody.
_END_TIMEOUT_S = 5.0

Choose = Callable[[list[str]], list[str]]


@dataclass(frozen=True)
class HubDownload:
    """One download into the cache; `run` may be called again after a failure.

    Only one runs for a repository and a cache at a time, also among processes: the others wait,
    and find the files. Where the file system has no locks each fetches them for itself.
    `reference` is a branch, a tag or a commit. `sleep` waits before another try.
    """

    cache: HubCache
    access: HubAccess
    repo: str
    selection: str
    choose: Choose
    reference: str = DEFAULT_BRANCH
    limits: HubLimits = field(default_factory=HubLimits)
    sleep: Sleep = asyncio.sleep

    async def run(self, report: ReportProgress) -> Snapshot:
        """Fetches the chosen files in a thread of its own, and reports how far it is.

        Cancelling ends it at once. What has arrived by then, or before a failure, is kept, and the
        next run fetches what is missing.

        Raises:
            ModelLoadFailed: the message names the repository and says what to do.
        """
        loop = asyncio.get_running_loop()

        def report_outside(progress: LoadProgress) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(report, progress)

        return await _run_in_thread(self._fetch_and_explain(report_outside))

    async def _fetch_and_explain(self, report: ReportProgress) -> Snapshot:
        try:
            async with HubClient(self.access, self.repo, self.reference, self.limits) as client:
                return await self._fetch(client, report)
        except HubFailure as failure:
            reason = f"{failure.reason}; {failure.advice}" if failure.advice else failure.reason
            raise ModelLoadFailed(
                f"'{self.repo}' cannot be fetched: {reason}", detail=failure.detail
            ) from failure
        except OSError as error:
            raise ModelLoadFailed(
                f"'{self.repo}' cannot be fetched: the cache cannot be written "
                f"({error.strerror or type(error).__name__}); set HF_HOME or HF_HUB_CACHE to a "
                "folder that can be",
                detail=f"the cache is {self.cache.root}",
            ) from error

    async def _fetch(self, client: HubClient, report: ReportProgress) -> Snapshot:
        asking = f"asking the hub for the files of {self.repo}"
        report(LoadProgress(asking))

        def report_wait(why: str) -> None:
            report(LoadProgress(asking, None, why))

        async def describe(file: HubFile) -> HubFile:
            if file.etag is not None and file.size is not None:
                return file
            # A mirror that does not list it.
            return await self.budget(report_wait).run(
                lambda: client.describe(listing.revision, file.name)
            )

        listing = await self.budget(report_wait).run(client.list_files)
        files = [await describe(file) for file in self._chosen(listing)]
        has_begun = self.cache.has_begun(self.repo, listing.revision, self.selection)
        async with hub_lock(self.cache, self.repo, self.limits, report) as partials:
            etags = [file.etag for file in listing.files.values()]
            if None not in etags:  # otherwise some of other models may be among them
                partials.remove_stale(etags)
            snapshot = self.cache.snapshot(self.repo, listing.revision)
            progress = HubProgress(self.repo, files, report, self.limits)
            fill = _Fill(self, client, snapshot, files, partials, progress)
            return await fill.run(trusts=has_begun or partials.has_waited)

    def budget(self, report_wait: Callable[[str], None]) -> RetryBudget:
        """Makes the tries for one thing."""
        return RetryBudget(self.repo, self.limits, report_wait, self.sleep)

    def _chosen(self, listing: Listing) -> list[HubFile]:
        """Chooses files of a listing.

        Raises:
            ModelLoadFailed: it lacks one, or one would not lie in the folder of the model.
        """
        names = self.choose([name for name in listing.files if is_harmless(name)])
        if not names:
            raise ModelLoadFailed(
                f"'{self.repo}' holds no safetensors weights: name a GGUF file of it, or another "
                "repository"
            )
        for name in names:
            if not is_inside(name):
                raise ModelLoadFailed(
                    f"'{self.repo}' cannot be fetched: it lists the file {name!r}, which would "
                    "lie outside the folder of the model; check HF_ENDPOINT"
                )
            if name not in listing.files:
                offered = [other for other in sorted(listing.files) if other.endswith(".gguf")][:20]
                hint = f"; it holds {', '.join(offered)}" if offered else ""
                raise ModelLoadFailed(f"'{self.repo}' holds no file {name}{hint}")
        return [listing.files[name] for name in names]


@dataclass(frozen=True)
class _Fill:
    """Fills the snapshot of one revision: what is here, what is missing, room for it, the mark."""

    job: HubDownload
    client: HubClient
    snapshot: Snapshot
    files: Sequence[HubFile]
    partials: Partials
    progress: HubProgress

    async def run(self, *, trusts: bool) -> Snapshot:
        """Fetches what is missing; `trusts` takes what has its full size without reading it."""
        start_s = time.monotonic()
        repo, cache, progress = self.job.repo, self.job.cache, self.progress
        revision, selection = self.snapshot.revision, self.job.selection
        # Equal contents are fetched and kept once.
        contents = {_key(file): file for file in self.files}.values()
        missing = [file for file in contents if not await self._is_here(file, trusts=trusts)]
        if too_large := [f for f in missing if (f.size or 0) > self.job.limits.max_file_bytes]:
            raise self.client.too_large(too_large[0])
        cache.blobs(repo).mkdir(parents=True, exist_ok=True)
        partials = {file: self.partials.take(_key(file)) for file in missing}
        for file, partial in partials.items():
            progress.found(file, min(_num_bytes(partial), file.size or 0))
        if self._num_missing(partials) > self._num_free():
            raise self._no_room(partials)
        cache.mark_started(repo, revision, selection)
        log = _logger.bind(repo=repo, revision=revision)
        log.info(
            "download_started",
            host=self.client.place.host,
            num_files=len(missing),
            bytes_total=progress.total,
            bytes_here=progress.done,
        )
        try:
            await self._fetch(partials)
            for file in self.files:
                if file in partials or not _has_size(self.snapshot.path / file.name, file):
                    cache.link(repo, revision, file.name, _key(file))
            etags = {file.name: _key(file) for file in self.files}
            cache.mark_complete(repo, revision, selection, etags, self.job.reference)
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise self._no_room(partials) from error
            raise
        progress.finish()
        lasted_s = round(time.monotonic() - start_s, 1)
        log.info("download_finished", bytes_arrived=progress.num_arrived, duration_s=lasted_s)
        return self.snapshot

    async def _fetch(self, partials: Mapping[HubFile, Path]) -> None:
        places = asyncio.Semaphore(self.job.limits.max_connections)

        async def fetch(file: HubFile, partial: Path) -> None:
            async with places:
                await FileFetch(
                    self.client,
                    self.snapshot.revision,
                    file,
                    partial=partial,
                    blob=self.job.cache.blobs(self.job.repo) / _key(file),
                    progress=self.progress,
                    limits=self.job.limits,
                    budget=self.job.budget(self.progress.waiting),
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
        for path in (
            self.snapshot.path / file.name,
            self.job.cache.blobs(self.job.repo) / _key(file),
        ):
            if not path.is_file():
                continue
            judged = path.stat()
            if _has_size(path, file) and (
                trusts or await has_right_contents(path, file, self.progress)
            ):
                self.progress.found(file, judged.st_size)
                return True
            # Not what another process may have put there meanwhile.
            if os.path.samestat(judged, path.stat()):
                path.unlink()
        return False

    def _no_room(self, partials: Mapping[HubFile, Path]) -> HubFailure:
        needed, free = amount(self._num_missing(partials)), amount(self._num_free())
        return HubFailure(
            f"the cache has not enough room: {needed} more are needed (of "
            f"{amount(self.progress.total)}), {free} are free",
            "make room, or set HF_HOME or HF_HUB_CACHE to a folder on a larger disk; what has "
            "arrived is kept",
            f"the cache is {self.job.cache.root}",
        )

    def _num_missing(self, partials: Mapping[HubFile, Path]) -> int:
        return sum(max((f.size or 0) - _num_bytes(partial), 0) for f, partial in partials.items())

    def _num_free(self) -> int:
        return shutil.disk_usage(self.job.cache.root).free


def _key(file: HubFile) -> str:
    assert file.etag is not None  # described before
    return file.etag


def _num_bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _has_size(path: Path, file: HubFile) -> bool:
    return path.is_file() and file.size in (None, path.stat().st_size)


async def _run_in_thread(coroutine: Coroutine[Any, Any, _T]) -> _T:  # Any: nothing is sent
    """Returns what `coroutine` returns; cancelling this cancels it and waits until it has ended.

    A download that writes to a slow disk, or hashes, would hold up the answers of the models that
    share a loop with it.
    """
    outer = asyncio.get_running_loop()
    runner = asyncio.Runner()
    inner = runner.get_loop()
    has_ended = asyncio.Event()

    def work() -> None:
        # Cancels what is left of the coroutine when the loop stops, and waits for it.
        with runner:
            inner.run_forever()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            outer.call_soon_threadsafe(has_ended.set)

    # Not one of the loop's own threads: the end of the process would wait for those.
    threading.Thread(target=work, name="hub-download", daemon=True).start()
    future = asyncio.run_coroutine_threadsafe(coroutine, inner)
    try:
        return await asyncio.wrap_future(future)
    finally:
        inner.call_soon_threadsafe(inner.stop)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_TIMEOUT_S):
                await has_ended.wait()
