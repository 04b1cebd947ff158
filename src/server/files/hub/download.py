"""Fetches the files of one model from the hub, or from a mirror of it, into the cache."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ...contract.errors import ModelLoadFailed
from ...contract.load_progress import LoadProgress, ReportProgress
from .answers import DEFAULT_BRANCH, HubFile, Listing, is_harmless, is_inside
from .cache import HubCache, Snapshot
from .client import HubAccess, HubClient
from .partials import hub_lock
from .progress import HubProgress
from .retry import HubFailure, HubLimits, RetryBudget, Sleep
from .snapshot import SnapshotFill

__all__ = ["Choose", "HubAccess", "HubDownload", "HubLimits"]

_T = TypeVar("_T")
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
        asking = f"asking {client.place.host} for the files of {self.repo}"
        report(LoadProgress(asking))

        def budget() -> RetryBudget:
            return RetryBudget(
                self.repo,
                self.limits,
                lambda wait: report(LoadProgress(asking, None, wait)),
                self.sleep,
            )

        async def describe(file: HubFile) -> HubFile:
            if file.etag is not None and file.size is not None:
                return file
            # A mirror that does not tell it with the list.
            return await budget().run(lambda: client.describe(listing.revision, file.name))

        listing = await budget().run(client.list_files)
        files = [await describe(file) for file in self._chosen(listing)]
        has_begun = self.cache.has_begun(self.repo, listing.revision, self.selection)
        async with hub_lock(self.cache, self.repo, self.limits, report) as partials:
            etags = [file.etag for file in listing.files.values()]
            if None not in etags:  # otherwise some of other models may be among them
                partials.remove_stale(etags)
            fill = SnapshotFill(
                client,
                self.cache,
                self.cache.snapshot(self.repo, listing.revision),
                files,
                partials,
                HubProgress(self.repo, files, report, self.limits),
                self.limits,
                self.sleep,
            )
            return await fill.run(self.selection, trusts=has_begun or partials.has_waited)

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
