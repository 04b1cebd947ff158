"""The cache of the Hugging Face hub on this machine, with marks for what is whole.

A download that was cut off leaves a snapshot that looks like a whole one. So a download writes a
mark before its first file, and completes it after the last.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MARKS = ".tokenwire"
_DEFAULT_BRANCH = "main"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of one revision of a repository."""

    revision: str
    path: Path


class HubCache:
    """The folder `hub` below `HF_HOME`, or any folder of the same layout."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def snapshots(self, repo: str) -> list[Snapshot]:
        """Lists the snapshots of a repository: its default branch first, then the newest."""
        folder = self._folder(repo)
        try:
            paths = [path for path in (folder / "snapshots").iterdir() if path.is_dir()]
        except OSError:
            return []
        try:
            current = (folder / "refs" / _DEFAULT_BRANCH).read_text().strip()
        except OSError:
            current = ""
        paths.sort(key=lambda path: (path.name == current, path.stat().st_mtime), reverse=True)
        return [Snapshot(path.name, path) for path in paths]

    def snapshot(self, repo: str, revision: str) -> Snapshot:
        """Returns where a revision of a repository lies, there or not."""
        return Snapshot(revision, self._folder(repo) / "snapshots" / revision)

    def find_defect(self, repo: str, snapshot: Snapshot, selection: str) -> str | None:
        """Returns what the mark of a download says is not whole; None also where no mark is.

        `selection` names the files that belong together: a repository may hold several models.
        """
        mark = self._mark(repo, snapshot.revision, selection)
        try:
            content: dict[str, Any] = json.loads(mark.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return "its download was cut off"
        if not content.get("complete"):
            return "its download was cut off"
        for name, size in content.get("files", {}).items():
            file = snapshot.path / name
            if not file.is_file():
                return f"{name} is missing"
            if size is not None and file.stat().st_size != size:
                return f"{name} is cut short"
        return None

    def mark_started(self, repo: str, revision: str, selection: str) -> None:
        """Writes that the files of a selection are about to be fetched."""
        _write(self._mark(repo, revision, selection), json.dumps({"complete": False}))

    def mark_complete(
        self, repo: str, revision: str, selection: str, sizes: Mapping[str, int | None]
    ) -> None:
        """Writes that the files of a selection are whole; their revision becomes the current."""
        content = {"complete": True, "files": dict(sizes)}
        _write(self._mark(repo, revision, selection), json.dumps(content, indent=1))
        _write(self._folder(repo) / "refs" / _DEFAULT_BRANCH, revision)

    def _folder(self, repo: str) -> Path:
        return self.root / f"models--{repo.replace('/', '--')}"

    def _mark(self, repo: str, revision: str, selection: str) -> Path:
        name = f"{revision}--{selection.replace('/', '--')}.json"
        return self._folder(repo) / _MARKS / name


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.write_text(text)
    partial.replace(file)
