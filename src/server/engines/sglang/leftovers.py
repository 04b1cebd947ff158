"""Files that a killed SGLang leaves behind: sockets and semaphores, shared memory."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final, Self

from ....private_folders import PREFIX, PrivateFolder
from ...machine.process_group import group_members

_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where Linux keeps it
_KIND: Final = "sglang-"
# SGLang's load report; what Python's multiprocessing and torch name theirs.
_OWN_NAMES: Final = ("sglang_", "sem.mp-", "psm_", "torch_")


class Leftovers:
    """What one process group made and does not remove when it is killed.

    Without this every restart of an engine would leave a few files for ever.
    """

    def __init__(self, folder: PrivateFolder) -> None:
        self._folder = folder
        self._shared: set[Path] = set()

    @classmethod
    def make(cls) -> Self:
        """Makes a folder for a group's temporary files, private as a socket's place should be."""
        return cls(PrivateFolder.make(_KIND))

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make the group use its own folder."""
        return {"TMPDIR": str(self._folder.path)}

    def record(self, group: int) -> None:
        """Records which shared memory the processes of `group` hold now. Takes about 20 ms."""
        inodes: set[int] = set()
        for pid in group_members(group):
            with contextlib.suppress(OSError):  # it ended meanwhile
                for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                    if str(_SHARED_MEMORY) in line:
                        inodes.add(int(line.split()[4]))
        # By inode: who makes a semaphore holds it under a name that is gone by then.
        for path in _SHARED_MEMORY.iterdir():
            if path.name.startswith(_OWN_NAMES):
                with contextlib.suppress(OSError):
                    if path.stat().st_ino in inodes:
                        self._shared.add(path)
        # For the case that this process is killed together with the group.
        self._folder.record_elsewhere(self._shared)

    def remove(self) -> None:
        """Removes everything. Call it when the group is gone; repeatable."""
        for path in self._shared:
            path.unlink(missing_ok=True)
        self._shared.clear()
        self._folder.remove()


def remove_own() -> None:
    """Removes what the group of this process made, just before it ends without its front."""
    folder = Path(tempfile.gettempdir())
    if folder.name.startswith(f"{PREFIX}{_KIND}"):  # never a folder that others use
        leftovers = Leftovers(PrivateFolder(folder))
        leftovers.record(os.getpgrp())
        leftovers.remove()
