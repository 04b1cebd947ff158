"""Folders of model files, and who may read them."""

from __future__ import annotations

import ctypes
import os
import re
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path


def write(folder: Path, files: Mapping[str, bytes | None]) -> Path:
    """Writes files; None makes a folder of that name."""
    for name, content in files.items():
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
    return folder


@contextmanager
def open_folder() -> Generator[Path]:
    """Makes a folder that everyone may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="tokenwire-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def as_nobody() -> Generator[None]:
    """Reads files with nobody's rights, where the tests run as root: in this thread alone."""
    libc = ctypes.CDLL(None)
    libc.setfsuid(65_534 if os.getuid() == 0 else os.getuid())  # man 2 setfsuid
    try:
        yield
    finally:
        libc.setfsuid(os.getuid())


def assert_tells(found: str | None, pattern: str) -> None:
    """Checks that a defect was found, in these words."""
    assert found is not None
    assert re.search(pattern, found), found
