"""Folders for sockets and other files of running processes, and those that killed ones left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final, Self

PREFIX: Final = "tokenwire-"
_LOCK: Final = "owner.lock"
_ELSEWHERE: Final = "elsewhere"
"""Files in other places that belong to the folder, a line each."""

DYING_S: Final = 2.0
"""What a killed process may take to let go of its locks once its pipes are closed: the kernel ends
its files with the newest first, and a busy machine stops it in between (0.1 s was seen)."""

_PAUSE_S: Final = 0.01


class PrivateFolder:
    """A folder that nobody else can enter, and that is known to be a live process's.

    The kernel drops its lock with the process, however that ends; so the next `sweep` can tell
    what was left behind, also where process ids mean nothing, as between containers. Whoever makes
    one of a folder that has an owner takes it over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        new = path / f"{_LOCK}.new"
        self._lock = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        new.rename(path / _LOCK)  # locked by then, so that no sweep takes it for a dead one's
        self._is_removed = False

    @classmethod
    def make(cls, kind: str = "", *, within: str | None = None) -> Self:
        """Makes a folder below the temporary one, or `within`; `kind` is part of its name."""
        return cls(Path(tempfile.mkdtemp(prefix=PREFIX + kind, dir=within)))

    def record_elsewhere(self, paths: set[Path]) -> None:
        """Notes files in other places that go with the folder."""
        with contextlib.suppress(FileNotFoundError):  # it is gone already
            text = "".join(f"{path}\n" for path in sorted(paths))
            (self.path / _ELSEWHERE).write_text(text)

    def remove(self) -> None:
        """Removes it with all that is in it. Repeatable."""
        if not self._is_removed:
            self._is_removed = True
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)


def sweep(folder: Path | None = None, *, patience_s: float = 0.0) -> list[Path]:
    """Removes the folders of processes that are no more from the temporary one; returns them.

    With `patience_s` it comes back for so long to those that seem to have an owner: `DYING_S` where
    one is known to have been killed a moment ago.
    """
    root = folder or Path(tempfile.gettempdir())
    last_s = time.monotonic() + patience_s
    removed: list[Path] = []
    while True:
        removed += [path for path in sorted(root.glob(f"{PREFIX}*")) if _sweep_one(path)]
        if time.monotonic() >= last_s or not any(root.glob(f"{PREFIX}*")):
            return removed
        time.sleep(_PAUSE_S)


def _sweep_one(path: Path) -> bool:
    try:
        # Not through links, and never what is another user's.
        if path.is_symlink() or path.stat().st_uid != os.geteuid():
            return False
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # being made at this moment, or nothing of ours
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(FileNotFoundError):
            for line in (path / _ELSEWHERE).read_text().splitlines():
                Path(line).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)
    except OSError:  # its owner lives
        return False
    finally:
        os.close(lock)
    return True
