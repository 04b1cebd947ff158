"""The cache of the Hugging Face hub on this machine, with marks for what is whole.

Its layout is that of `huggingface_hub`: contents in `blobs`, named by their ETag, and for each
revision a folder in `snapshots` with links to them. A download that was cut off leaves a snapshot
that looks like a whole one. So a download writes a mark before its first file, and completes it
after the last.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .answers import DEFAULT_BRANCH

_MARKS = ".tokenwire"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of one revision of a repository."""

    revision: str
    path: Path


class HubCache:
    """The folder `hub` below `HF_HOME`, or any folder of the same layout."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def snapshots(self, repo: str, reference: str = "") -> list[Snapshot]:
        """Lists the snapshots of a repository: its default branch first, then the newest.

        `reference` is a branch, a tag or a commit: only the snapshot that it stands for is listed.
        """
        current = self._read_reference(repo, reference or DEFAULT_BRANCH)
        try:
            paths = [path for path in (self._folder(repo) / "snapshots").iterdir() if path.is_dir()]
        except OSError:
            return []
        if reference:
            paths = [path for path in paths if path.name == (current or reference)]
        paths.sort(key=lambda path: (path.name == current, path.stat().st_mtime), reverse=True)
        return [Snapshot(path.name, path) for path in paths]

    def snapshot(self, repo: str, revision: str) -> Snapshot:
        """Returns where a revision of a repository lies, there or not."""
        return Snapshot(revision, self._folder(repo) / "snapshots" / revision)

    def find_defect(self, repo: str, snapshot: Snapshot, selection: str) -> str | None:
        """Returns what the mark of a download says is not whole; None also where no mark is.

        `selection` names the files that belong together: a repository may hold several models.
        """
        content = self._read_mark(repo, snapshot.revision, selection)
        if content is None:
            return None
        if not content.get("complete"):
            return "its download was cut off"
        for name, size in content.get("files", {}).items():
            file = snapshot.path / name
            if not file.is_file():
                return f"{name} is missing"
            if size is not None and file.stat().st_size != size:
                return f"{name} is cut short"
        return None

    def has_begun(self, repo: str, revision: str, selection: str) -> bool:
        """Whether a download of ours was cut off: what it finished had been checked."""
        content = self._read_mark(repo, revision, selection)
        return content is not None and not content.get("complete")

    def was_cut_off(self, repo: str, selection: str) -> bool:
        """Whether a download of ours of any revision was cut off."""
        marks = self._mark(repo, "*", selection)
        revisions = [mark.name.partition("--")[0] for mark in marks.parent.glob(marks.name)]
        return any(self.has_begun(repo, revision, selection) for revision in revisions)

    def mark_started(self, repo: str, revision: str, selection: str) -> None:
        """Writes that the files of a selection are about to be fetched."""
        _write(self._mark(repo, revision, selection), json.dumps({"complete": False}))

    def mark_complete(
        self,
        repo: str,
        revision: str,
        selection: str,
        etags: Mapping[str, str],
        reference: str = DEFAULT_BRANCH,
    ) -> None:
        """Writes that the files of a selection are whole, and that `reference` is their revision.

        `etags` are by name. The ETag of a large file is the SHA-256 of its contents.
        """
        folder = self.snapshot(repo, revision).path
        sizes = {name: (folder / name).stat().st_size for name in etags}
        content = {"complete": True, "files": sizes, "etags": dict(etags)}
        _write(self._mark(repo, revision, selection), json.dumps(content, indent=1))
        if reference != revision:
            _write(self._folder(repo) / "refs" / reference, revision)

    def blobs(self, repo: str) -> Path:
        """Returns the folder of the contents of a repository, each under its ETag."""
        return self._folder(repo) / "blobs"

    def num_bytes(self, repo: str) -> int:
        """Adds up the contents of a repository, whole or not."""
        total = 0
        for path in self.blobs(repo).glob("*"):
            try:
                total += path.stat().st_size
            except OSError:  # another process has just moved it
                continue
        return total

    def link(self, repo: str, revision: str, name: str, etag: str) -> None:
        """Puts contents into a snapshot under the name of their file.

        Raises:
            OSError: the folder cannot be written.
        """
        blob = self.blobs(repo) / etag
        pointer = self.snapshot(repo, revision).path / name
        pointer.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(blob, pointer.parent)
        if pointer.is_symlink() and os.readlink(pointer) == target:  # noqa: PTH115 - a str to compare
            return
        fresh = _beside(pointer)
        try:
            fresh.symlink_to(target)
        except OSError:
            # No links on this file system: huggingface_hub moves the contents there, too.
            blob.replace(pointer)
        else:
            fresh.replace(pointer)

    def lock_file(self, repo: str) -> Path:
        """Returns the file that is locked while a download of the repository runs."""
        return self.root / ".locks" / self._folder(repo).name / "tokenwire.lock"

    def _folder(self, repo: str) -> Path:
        return self.root / f"models--{repo.replace('/', '--')}"

    def _read_reference(self, repo: str, reference: str) -> str:
        try:
            return (self._folder(repo) / "refs" / reference).read_text().strip()
        except OSError:
            return ""

    def _mark(self, repo: str, revision: str, selection: str) -> Path:
        name = f"{revision}--{selection.replace('/', '--')}.json"
        return self._folder(repo) / _MARKS / name

    def _read_mark(self, repo: str, revision: str, selection: str) -> dict[str, Any] | None:
        """Returns what a mark says; None where there is none, empty where it is broken."""
        try:
            content: Any = json.loads(self._mark(repo, revision, selection).read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}  # pyright: ignore[reportUnknownVariableType] - JSON


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(file)
    with partial.open("w") as stream:
        stream.write(text)
        stream.flush()
        # A mark must not survive a power cut that its files do not, nor the other way round.
        os.fsync(stream.fileno())
    partial.replace(file)


def _beside(file: Path) -> Path:
    # Not by the number of this process: two containers that share a cache have the same.
    return file.with_name(f".{file.name}.{uuid.uuid4().hex}.partial")
