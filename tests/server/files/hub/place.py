"""A cache, a hub and a download between them, for the tests of downloads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tokenwire.server.contract.load_progress import LoadProgress
from tokenwire.server.files.hub.cache import HubCache, Snapshot
from tokenwire.server.files.hub.download import Choose, HubAccess, HubDownload
from tokenwire.server.files.hub.retry import HubLimits
from tokenwire.server.files.wanted_files import choose_safetensors

from .mirror import REVISION, HubMirror, safetensors, sha256

REPO = "owner/tiny"
WEIGHTS = "model.safetensors"
FILES = {
    "config.json": b'{"a": 1}',
    "tokenizer.json": b'{"model": {}}',
    WEIGHTS: safetensors(300_000),
}
SIZE = len(FILES[WEIGHTS])
SMALL = sum(len(body) for name, body in FILES.items() if name != WEIGHTS)
SELECTION = "safetensors"


class HubPlace:
    """One machine with one cache; `waits` are those before other tries, which take no time.

    `limits` may be changed, `blobs` and `snapshot` are the cache's folders.
    """

    def __init__(self, mirror: HubMirror, home: Path) -> None:
        self.mirror = mirror
        self.cache = HubCache(home / "hub")
        self.limits = HubLimits(
            report_interval_s=0, lock_poll_s=0.01, heartbeat_s=0.05, abandoned_s=0.5
        )
        self.steps: list[LoadProgress] = []
        self.waits: list[float] = []
        self.endpoint: str | None = None
        self.token: str | None = None
        self.reference = "main"
        folder = self.cache.root / "models--owner--tiny"
        self.blobs = folder / "blobs"
        self.snapshot = folder / "snapshots" / REVISION

    def bound(self, **limits: float) -> None:
        """Changes some of the limits."""
        self.limits = replace(self.limits, **limits)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def download(self, choose: Choose = choose_safetensors) -> HubDownload:
        access = HubAccess(self.endpoint or self.mirror.url, self.token)
        return HubDownload(
            self.cache,
            access,
            REPO,
            SELECTION,
            choose,
            reference=self.reference,
            limits=self.limits,
            sleep=self.sleep,
        )

    async def run(self, choose: Choose = choose_safetensors) -> Snapshot:
        return await self.download(choose).run(self.steps.append)

    def contents(self) -> dict[str, bytes]:
        """The files of the snapshot."""
        return {path.name: path.read_bytes() for path in self.snapshot.glob("*")}

    def defect(self) -> str | None:
        """What the mark of the download says."""
        snapshot = self.cache.snapshot(REPO, REVISION)
        return self.cache.find_defect(REPO, snapshot, SELECTION)

    @property
    def partial(self) -> Path:
        """Where what arrived of the weights is left."""
        return self.blobs / f"{sha256(FILES[WEIGHTS])}.incomplete"

    def num_growing(self, etag: str = sha256(FILES[WEIGHTS])) -> int:
        """The bytes that have arrived of contents that are not whole yet."""
        return max(
            (file.stat().st_size for file in self.blobs.glob(f"{etag}.*incomplete")), default=0
        )

    def left(self) -> dict[str, int]:
        """The sizes of what lies in the cache, by name."""
        return {path.name: path.stat().st_size for path in self.blobs.glob("*")}
