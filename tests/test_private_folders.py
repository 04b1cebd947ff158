"""Folders of processes that live, and of those that were killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenwire.private_folders import PREFIX, PrivateFolder, sweep

OWNER = """
import sys
from pathlib import Path
from tokenwire.private_folders import PrivateFolder
folder = PrivateFolder.make("test-", within=sys.argv[1])
(folder.path / "some.sock").touch()
folder.record_elsewhere({Path(sys.argv[2])})
print(folder.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere"
    path.touch()
    return path


@pytest.fixture
def owner(tmp_path: Path, elsewhere: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path), str(elsewhere)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        yield process
        process.kill()


def folder_of(owner: subprocess.Popen[bytes]) -> Path:
    assert owner.stdout is not None
    return Path(owner.stdout.readline().decode().strip())


def test_folder_of_a_killed_process_is_removed(
    owner: subprocess.Popen[bytes], tmp_path: Path, elsewhere: Path
) -> None:
    """With what belongs to it elsewhere; while its owner lives it stays."""
    folder = folder_of(owner)
    assert sweep(tmp_path) == []
    assert (folder / "some.sock").exists()
    assert elsewhere.exists()
    owner.kill()
    owner.wait()
    assert sweep(tmp_path) == [folder]
    assert not folder.exists()
    assert not elsewhere.exists()
    assert sweep(tmp_path) == []


def test_patient_sweep_waits_for_a_dying_owner(
    owner: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process holds its lock a little longer than its pipes."""
    folder = folder_of(owner)

    def die(_: float) -> None:
        owner.kill()
        owner.wait()

    monkeypatch.setattr(time, "sleep", die)
    assert sweep(tmp_path, patience_s=60) == [folder]
    assert not folder.exists()


def test_own_folder_stays_until_it_is_removed(tmp_path: Path) -> None:
    folder = PrivateFolder.make(within=str(tmp_path))
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert sweep(tmp_path) == []
    folder.remove()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    """Folders without an owner's lock, files, and links to folders are left alone."""
    (tmp_path / f"{PREFIX}of-somebody").mkdir()
    (tmp_path / f"{PREFIX}file").touch()
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    (elsewhere / "owner.lock").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    assert sweep(tmp_path) == []
    assert (elsewhere / "owner.lock").exists()
