from __future__ import annotations

from pathlib import Path

import pytest
from tokenwire.server.files.hub.cache import HubCache

REPO = "owner/tiny"
REVISION = "0123456789abcdef0123456789abcdef01234567"
SELECTION = "safetensors"


@pytest.fixture
def cache(tmp_path: Path) -> HubCache:
    return HubCache(tmp_path / "hub")


def fill(cache: HubCache, name: str = "a.json", body: bytes = b"{}") -> Path:
    """Puts a file into the snapshot, as a download does."""
    blob = cache.blobs(REPO) / "etag"
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(body)
    cache.link(REPO, REVISION, name, "etag")
    return cache.snapshot(REPO, REVISION).path / name


def complete(cache: HubCache, reference: str = "main") -> None:
    cache.mark_complete(REPO, REVISION, SELECTION, {"a.json": "etag"}, reference)


def defect(cache: HubCache, selection: str = SELECTION) -> str | None:
    return cache.find_defect(REPO, cache.snapshot(REPO, REVISION), selection)


def test_a_snapshot_of_others_has_no_mark(cache: HubCache) -> None:
    """What others put into the cache is not judged by a mark."""
    fill(cache)
    assert defect(cache) is None
    assert not cache.has_begun(REPO, REVISION, SELECTION)
    assert not cache.was_cut_off(REPO, SELECTION)


def test_a_begun_download_is_not_whole(cache: HubCache) -> None:
    """Files may all be there: until the mark is complete, none is trusted."""
    cache.mark_started(REPO, REVISION, SELECTION)
    fill(cache)
    assert defect(cache) == "its download was cut off"
    assert cache.has_begun(REPO, REVISION, SELECTION)
    assert cache.was_cut_off(REPO, SELECTION)


def test_a_complete_download_is_whole(cache: HubCache) -> None:
    """After the last file the mark is completed, and the revision becomes the current one."""
    cache.mark_started(REPO, REVISION, SELECTION)
    fill(cache)
    complete(cache)
    assert defect(cache) is None
    assert not cache.was_cut_off(REPO, SELECTION)
    other = cache.snapshot(REPO, "f" * 40).path
    other.mkdir()
    assert [snapshot.revision for snapshot in cache.snapshots(REPO)] == [REVISION, "f" * 40]


def test_selections_are_apart(cache: HubCache) -> None:
    """One GGUF file of a repository may be whole while another was cut off."""
    cache.mark_started(REPO, REVISION, "folder/b.gguf")
    fill(cache)
    complete(cache)
    assert defect(cache) is None
    assert defect(cache, "folder/b.gguf") == "its download was cut off"
    assert cache.was_cut_off(REPO, "folder/b.gguf")
    assert not cache.was_cut_off(REPO, "b.gguf")


def test_files_are_compared_with_the_mark(cache: HubCache) -> None:
    """A file that is gone, or has another size, is named."""
    file = fill(cache)
    complete(cache)
    file.resolve().write_bytes(b"{")
    assert defect(cache) == "a.json is cut short"
    file.resolve().unlink()
    assert defect(cache) == "a.json is missing"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"complete": false}'])
def test_a_broken_mark_trusts_nothing(cache: HubCache, text: str) -> None:
    """A mark that cannot be read counts as one of a download that was cut off."""
    fill(cache)
    complete(cache)
    next((cache.root / "models--owner--tiny" / ".tokenwire").iterdir()).write_text(text)
    assert defect(cache) == "its download was cut off"


def test_links_reach_out_of_folders(cache: HubCache) -> None:
    """A file in a folder is linked to the same contents, by a relative path."""
    file = fill(cache, "deep/er/a.json")
    assert file.is_symlink()
    assert file.read_bytes() == b"{}"
    moved = cache.root.with_name("moved")
    cache.root.rename(moved)
    found = HubCache(moved).snapshot(REPO, REVISION).path / "deep/er/a.json"
    assert found.read_bytes() == b"{}"


def test_a_link_is_renewed(cache: HubCache) -> None:
    """What lies under the name of a file gives way, a whole file or a link that leads nowhere."""
    file = fill(cache)
    file.unlink()
    file.symlink_to("nowhere")
    assert fill(cache).read_bytes() == b"{}"
    file.unlink()
    file.write_bytes(b"old")
    assert fill(cache).read_bytes() == b"{}"
    assert [path.name for path in file.parent.iterdir()] == ["a.json"]


def test_a_file_system_without_links(cache: HubCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where links cannot be made, the contents themselves get the name."""

    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    file = fill(cache)
    assert not file.is_symlink()
    assert file.read_bytes() == b"{}"
    assert not (cache.blobs(REPO) / "etag").exists()


def test_bytes_of_a_repository(cache: HubCache) -> None:
    """Whole contents and parts are added up."""
    assert cache.num_bytes(REPO) == 0
    fill(cache)
    (cache.blobs(REPO) / "other.incomplete").write_bytes(b"123")
    assert cache.num_bytes(REPO) == 5
