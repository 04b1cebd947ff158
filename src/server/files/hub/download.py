"""Fetches the files of one model from the hub, or from a mirror of it, into the cache."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from ...contract.engine import LoadProgress, ReportProgress
from ...contract.errors import ModelLoadFailed
from .cache import HubCache, Snapshot
from .client import HubAccess, HubClient
from .listing import HubFile, Listing, is_harmless, is_inside
from .lock import hub_lock
from .progress import log_retry
from .retry import HubFailure, HubLimits, Retry, Sleep, Tries, persist
from .snapshot import SnapshotFill
from .thread import run_in_thread

__all__ = [
    "Choose",
    "HubAccess",
    "HubDownload",
    "HubLimits",
    "default_cache_root",
]

Choose = Callable[[list[str]], list[str]]


class HubDownload:
    """One download into the cache; `run` may be called again after a failure.

    Only one runs for a repository and a cache at a time, also among processes: the others wait,
    and find the files. `sleep` waits before another try.
    """

    def __init__(
        self,
        cache: HubCache,
        access: HubAccess,
        repo: str,
        selection: str,
        choose: Choose,
        *,
        limits: HubLimits | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._cache = cache
        self._access = access
        self._repo = repo
        self._selection = selection
        self._choose = choose
        self._limits = limits or HubLimits()
        self._sleep = sleep

    async def run(self, report: ReportProgress) -> Snapshot:
        """Fetches the chosen files in a thread of its own, telling `report` how far it is.

        Cancelling ends it at once. What has arrived by then, or before a failure, is kept, and the
        next run fetches what is missing.

        Raises:
            ModelLoadFailed: the message names the repository and says what to do.
        """
        loop = asyncio.get_running_loop()

        def tell(progress: LoadProgress) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(report, progress)

        return await run_in_thread(self._fetch_and_explain(tell))

    async def _fetch_and_explain(self, tell: ReportProgress) -> Snapshot:
        try:
            return await self._fetch(tell)
        except HubFailure as failure:
            advice = f"; {failure.advice}" if failure.advice else ""
            raise ModelLoadFailed(
                f"'{self._repo}' cannot be fetched: {failure.reason}{advice}"
            ) from failure
        except OSError as error:
            raise ModelLoadFailed(
                f"'{self._repo}' cannot be fetched: {self._cache.root} cannot be written "
                f"({error.strerror or type(error).__name__}); set HF_HOME to a folder that can be"
            ) from error

    async def _fetch(self, tell: ReportProgress) -> Snapshot:
        async with HubClient(self._access, self._limits) as client:
            asking = f"asking {client.host} for the files of {self._repo}"
            tell(LoadProgress(asking))

            def on_retry(retry: Retry) -> None:
                log_retry(self._repo, retry, self._limits)
                wait = f"next try in {retry.wait_s:.0f} s"
                tell(LoadProgress(asking, None, f"{wait}: {retry.failure.reason}"))

            def tries() -> Tries:
                return Tries(self._limits, on_retry, self._sleep)

            async def describe(name: str) -> HubFile:
                file = listing.files[name]
                if file.etag is not None and file.size is not None:
                    return file
                # A mirror that does not tell it with the list.
                return await persist(
                    lambda: client.describe(self._repo, listing.revision, name), tries()
                )

            listing = await persist(lambda: client.list_files(self._repo), tries())
            files = [await describe(name) for name in self._names(listing)]
            has_begun = self._cache.has_begun(self._repo, listing.revision, self._selection)
            async with hub_lock(self._cache, self._repo, self._limits, tell) as has_waited:
                fill = SnapshotFill(
                    client,
                    self._cache,
                    repo=self._repo,
                    revision=listing.revision,
                    files=files,
                    limits=self._limits,
                    sleep=self._sleep,
                )
                return await fill.run(self._selection, tell, trusts=has_begun or has_waited)

    def _names(self, listing: Listing) -> list[str]:
        """Chooses files of a listing.

        Raises:
            ModelLoadFailed: it lacks one, or one would not lie in the folder of the model.
        """
        names = self._choose([name for name in listing.files if is_harmless(name)])
        if not names:
            raise ModelLoadFailed(
                f"'{self._repo}' holds no safetensors weights: name a GGUF file of it, or another "
                "repository"
            )
        for name in names:
            if not is_inside(name):
                raise ModelLoadFailed(
                    f"'{self._repo}' cannot be fetched: it lists the file {name!r}, which would "
                    "lie outside the folder of the model; check HF_ENDPOINT"
                )
            if name not in listing.files:
                offered = [other for other in sorted(listing.files) if other.endswith(".gguf")][:20]
                hint = f"; it holds {', '.join(offered)}" if offered else ""
                raise ModelLoadFailed(f"'{self._repo}' holds no file {name}{hint}")
        return names


def default_cache_root(hf_home: Path | None) -> Path:
    """Returns the folder of the hub's cache."""
    home = hf_home.expanduser() if hf_home else Path.home() / ".cache" / "huggingface"
    return home / "hub"
