"""A disk without room for a download."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
from tokenwire.server.contract.errors import ModelLoadFailed

from .mirror import HubMirror
from .place import FILES, SIZE, WEIGHTS, HubPlace


@pytest.fixture
def small_disk(tmp_path: Path, mirror: HubMirror) -> Generator[HubPlace]:
    """A place on a disk of 256 KiB, too small for the weights."""
    home = tmp_path / "disk"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(home)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here: that takes root")
    yield HubPlace(mirror, home)
    subprocess.run(["umount", str(home)], check=True)


def enlarge(place: HubPlace) -> None:
    home = place.cache.root.parent
    subprocess.run(["mount", "-o", "remount,size=8m", str(home)], check=True)


def fill(junk: Path) -> None:
    """Takes all the room that there is left."""
    with contextlib.suppress(OSError), junk.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))


async def test_no_room(small_disk: HubPlace, mirror: HubMirror) -> None:
    """A disk that is too small is told before anything is fetched; with room it goes on."""
    with pytest.raises(
        ModelLoadFailed,
        match=r"the cache has not enough room: 0\.3 MiB more are needed \(of 0\.3 MiB\), 0\.2 MiB "
        "are free; .*HF_HOME",
    ) as caught:
        await small_disk.run()
    assert str(small_disk.cache.root) in caught.value.detail
    assert mirror.fetched == []
    enlarge(small_disk)
    await small_disk.run()
    assert small_disk.contents() == FILES


async def test_room_for_what_is_missing(small_disk: HubPlace, mirror: HubMirror) -> None:
    """What is here already needs no room."""
    small_disk.blobs.mkdir(parents=True)
    small_disk.partial.write_bytes(FILES[WEIGHTS][:100_000])
    junk = small_disk.cache.root.parent / "junk"
    junk.write_bytes(bytes(100_000))
    with pytest.raises(ModelLoadFailed, match=r"0\.2 MiB more are needed \(of 0\.3 MiB\)"):
        await small_disk.run()
    assert mirror.fetched == []


async def test_a_disk_that_fills_up(small_disk: HubPlace, mirror: HubMirror) -> None:
    """Another program may take the room meanwhile: nothing is trusted, and nothing lost."""
    enlarge(small_disk)
    mirror.held.add(WEIGHTS)
    junk = small_disk.cache.root.parent / "junk"
    async with asyncio.timeout(60):
        task = asyncio.ensure_future(small_disk.run())
        await mirror.holds()
        while not small_disk.num_growing():  # noqa: ASYNC110 - the other side of a socket tells nobody
            await asyncio.sleep(0.01)
        fill(junk)
        mirror.release.set()
        with pytest.raises(ModelLoadFailed, match=r"has not enough room: .* are free"):
            await task
    assert len(mirror.asked(WEIGHTS)) == 1
    assert small_disk.contents() == {}
    assert small_disk.defect() == "its download was cut off"
    junk.unlink()
    mirror.held.clear()
    mirror.log.clear()
    await small_disk.run()
    assert small_disk.contents() == FILES
    assert mirror.num_sent() < SIZE


async def test_a_cache_that_cannot_be_written(place: HubPlace) -> None:
    """The message names the folder and the variable."""
    place.cache.root.parent.mkdir(exist_ok=True)
    place.cache.root.write_text("a file")
    with pytest.raises(ModelLoadFailed, match=r"cache cannot be written \(.*HF_HOME") as caught:
        await place.run()
    assert str(place.cache.root) in caught.value.detail
    assert str(place.cache.root) not in caught.value.message
