"""Fetches the files of one model from the hub, or from a mirror of it, into the cache."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .engine import LoadProgress, ReportProgress
from .errors import ModelLoadFailed
from .hub_cache import HubCache, Snapshot

_MIB = 1024 * 1024
# What beside the weights an engine reads: configuration, tokenizer, template. Never code.
_COMPANIONS = ("*.json", "*.jinja", "*.model", "*.tiktoken", "merges.txt", "vocab.txt")
TOKENIZER_PATTERNS = ("tokenizer*", "special_tokens_map.json", "vocab*", "merges.txt", "*.tiktoken")


@dataclass(frozen=True, slots=True)
class HubAccess:
    """How the hub is reached. `endpoint` None: the public hub."""

    endpoint: str | None
    token: str | None


Choose = Callable[[list[str]], list[str]]


def choose_safetensors(names: list[str]) -> list[str]:
    """Picks weights, configuration and tokenizer of a repository; empty without weights."""
    top = [name for name in names if "/" not in name]
    weights = [name for name in top if name.endswith(".safetensors")]
    # Some repositories hold the same weights a second time in their author's own layout.
    weights = [name for name in weights if not name.startswith("consolidated")] or weights
    if not weights:
        return []
    companions = [name for name in top if any(fnmatch(name, form) for form in _COMPANIONS)]
    return [*companions, *weights]


class HubDownload:
    """One download into the cache; `run` may be called again after a failure."""

    def __init__(
        self, cache: HubCache, access: HubAccess, repo: str, selection: str, choose: Choose
    ) -> None:
        self._cache = cache
        self._access = access
        self._repo = repo
        self._selection = selection
        self._choose = choose
        self._cancelled = threading.Event()

    async def run(self, report: ReportProgress) -> Snapshot:
        """Fetches the chosen files in a thread of its own, telling `report` how far it is.

        Cancelling stops it at the next piece that arrives. The number of retries and the time
        limits are those of the hub's own library.

        Raises:
            ModelLoadFailed: the message names the repository and says what to do.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Snapshot] = loop.create_future()

        def tell(progress: LoadProgress) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(report, progress)

        def settle(snapshot: Snapshot | None, error: BaseException | None) -> None:
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
            elif snapshot is not None:
                done.set_result(snapshot)

        def work() -> None:
            snapshot: Snapshot | None = None
            error: BaseException | None = None
            try:
                snapshot = self._fetch(tell)
            except ModelLoadFailed as failure:
                error = failure
            except Exception as failure:  # noqa: BLE001 - a thread's top
                error = ModelLoadFailed(self._explain(failure))
            with contextlib.suppress(RuntimeError):  # as above
                loop.call_soon_threadsafe(settle, snapshot, error)

        # Not the loop's own threads: the end of the process would wait for those.
        threading.Thread(target=work, name="hub-download", daemon=True).start()
        try:
            return await done
        except asyncio.CancelledError:
            self._cancelled.set()
            raise

    def _fetch(self, tell: ReportProgress) -> Snapshot:
        # Costs half a second, and is not needed where the files are here already.
        import huggingface_hub  # noqa: PLC0415

        hub: Any = huggingface_hub  # its annotations are partial
        endpoint, token = self._access.endpoint, self._access.token
        tell(LoadProgress(f"asking for the files of {self._repo}"))
        info: Any = hub.HfApi(endpoint=endpoint, token=token).model_info(
            self._repo, files_metadata=True
        )
        siblings: list[Any] = info.siblings or []
        found: dict[str, int | None] = {item.rfilename: item.size for item in siblings}
        names = self._choose(list(found))
        if info.sha is None or not names:
            raise ModelLoadFailed(
                f"'{self._repo}' holds no safetensors weights: name a GGUF file of it, or another "
                "repository"
            )
        missing = [name for name in names if name not in found]
        if missing:
            offered = [name for name in sorted(found) if name.endswith(".gguf")][:20]
            hint = f"; it holds {', '.join(offered)}" if offered else ""
            raise ModelLoadFailed(f"'{self._repo}' holds no file {missing[0]}{hint}")
        self._cache.mark_started(self._repo, info.sha, self._selection)
        sizes = {name: found[name] for name in names}
        progress = _Progress(sizes, tell, self._cancelled)
        for name in names:
            with progress.file(name):
                hub.hf_hub_download(
                    self._repo,
                    name,
                    revision=info.sha,
                    cache_dir=self._cache.root,
                    endpoint=endpoint,
                    token=token,
                    tqdm_class=progress.bar,
                )
        self._cache.mark_complete(self._repo, info.sha, self._selection, sizes)
        return self._cache.snapshot(self._repo, info.sha)

    def _explain(self, failure: Exception) -> str:
        response = getattr(failure, "response", None)
        status = getattr(response, "status_code", None)
        # An address may hold a password.
        host = urlsplit(self._access.endpoint).hostname if self._access.endpoint else None
        where = host or "the public hub"
        if status in (401, 403):
            token = "no HF_TOKEN is set" if self._access.token is None else "HF_TOKEN has none"
            reason = (
                f"{where} wants a token with access to it (status {status}) and {token}; a hub "
                "says so of ids that do not exist, too"
            )
        elif status == 404:
            reason = f"{where} does not know it (status 404): check the id"
        elif status is not None:
            reason = f"{where} answered with status {status}; try again later"
        elif isinstance(failure, OSError) and failure.errno is not None:
            reason = f"{failure.strerror or type(failure).__name__}; is there room under HF_HOME?"
        else:
            reason = (
                f"{where} cannot be reached ({type(failure).__name__}); set HF_ENDPOINT to a "
                "mirror, or put the files under LLM_MODEL_PATH"
            )
        return f"'{self._repo}' cannot be fetched: {reason}"


class _Progress:
    """Adds up what arrived, over all files of a download."""

    def __init__(
        self, sizes: Mapping[str, int | None], tell: ReportProgress, cancelled: threading.Event
    ) -> None:
        self._sizes = sizes
        self._tell = tell
        self._cancelled = cancelled
        self._total = sum(size or 0 for size in sizes.values())
        self._finished = 0
        self._current = 0.0
        self._told = -1

    @contextlib.contextmanager
    def file(self, name: str) -> Generator[None]:
        """Counts one file, which may also be in the cache already."""
        self._current = 0.0
        yield
        self._finished += self._sizes[name] or 0
        self._current = 0.0
        self._report()

    def bar(self, **_: object) -> _Bar:
        """Makes a progress bar for the hub's library; it shows nothing and counts here."""
        return _Bar(self._advance)

    def _advance(self, num_bytes: float) -> None:
        if self._cancelled.is_set():
            raise InterruptedError("the download is not wanted any more")
        # Some transfers have two bars, for what came over the network and what was written.
        self._current = max(self._current, num_bytes)
        self._report()

    def _report(self) -> None:
        if not self._total:
            return
        done = min(self._finished + self._current, self._total)
        percent = int(100 * done / self._total)
        if percent == self._told:
            return
        self._told = percent
        step = f"downloading, {done / _MIB:.0f} of {self._total / _MIB:.0f} MiB"
        self._tell(LoadProgress(step, done / self._total))


class _Bar:
    """What the hub's library calls on a tqdm bar."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        self._advance = advance
        self.n = 0.0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, n: float | None = 1) -> None:
        """Counts `n` bytes more."""
        self.n += n or 0
        self._advance(self.n)

    def close(self) -> None:
        """Does nothing: nothing is shown."""

    def refresh(self, *_: object, **__: object) -> None:
        """Does nothing: nothing is shown."""

    def set_postfix_str(self, *_: object, **__: object) -> None:
        """Does nothing: nothing is shown."""


def default_cache_root(hf_home: Path | None) -> Path:
    """Returns the folder of the hub's cache."""
    home = hf_home.expanduser() if hf_home else Path.home() / ".cache" / "huggingface"
    return home / "hub"
