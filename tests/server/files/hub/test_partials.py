"""Several downloads of one repository, and what those leave that were killed."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from asyncio.subprocess import Process
from pathlib import Path

import pytest
from filelock import FileLock
from tokenwire.server.files.hub.partials import Partials

from .mirror import HubMirror, sha256
from .place import FILES, REPO, SIZE, WEIGHTS, HubPlace

DIGEST = sha256(FILES[WEIGHTS])
# Of a process on a machine that cannot be seen from here.
ELSEWHERE = f"{DIGEST}.00000000-00000000.incomplete"
LARGE = 200_000_000
WITHOUT_LOCKS = {
    "locks": "",
    "no locks": "def acquire(self): raise NotImplementedError",
    "no lock server": "def acquire(self): raise OSError(37, 'No locks available')",
    "locks that do nothing": "def acquire(self): pass",
}
SCRIPT = """
import asyncio, sys
from pathlib import Path
from filelock import FileLock
from tests.server.files.hub.mirror import HubMirror
from tests.server.files.hub.place import HubPlace

{patch}
if "acquire" in globals():
    FileLock.acquire = acquire
place = HubPlace(HubMirror({{}}), Path(sys.argv[1]))
place.endpoint = sys.argv[2]
asyncio.run(place.run())
"""


async def start(place: HubPlace, patch: str = "") -> Process:
    """Starts a process that downloads into the cache of `place`."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIPT.format(patch=patch)),
        *(str(place.cache.root.parent), place.mirror.url),
        env={**os.environ, "PYTHONPATH": "."},
    )


async def kill_half_way(place: HubPlace, num_bytes: int, patch: str = "") -> int:
    """Kills a process in the middle of the weights, and returns how much of them lies here."""
    place.mirror.held.add(WEIGHTS)
    digest = sha256(place.mirror.repos[REPO][WEIGHTS])
    process = await start(place, patch)
    async with asyncio.timeout(120):
        await place.mirror.holds()
        while place.num_growing(digest) < num_bytes // 2:  # noqa: ASYNC110 - the other side of a socket tells nobody
            await asyncio.sleep(0.01)
        process.kill()
        await process.wait()
    place.mirror.held.clear()
    place.mirror.log.clear()
    return place.num_growing(digest)


async def test_a_killed_process_loses_nothing(place: HubPlace, mirror: HubMirror) -> None:
    """Of 200 MB the next start asks for the half that is missing. Takes seconds: so many bytes."""
    body = random.Random(7).randbytes(LARGE)
    mirror.repos[REPO][WEIGHTS] = body
    here = await kill_half_way(place, LARGE)
    assert here >= LARGE // 2
    found = await place.run()
    assert [asked.range for asked in mirror.asked(WEIGHTS)] == [f"bytes={here}-"]
    assert mirror.num_sent() == LARGE - here
    assert (found.path / WEIGHTS).read_bytes() == body


@pytest.mark.parametrize("patch", WITHOUT_LOCKS.values(), ids=WITHOUT_LOCKS)
async def test_a_killed_process_loses_nothing_without_locks(
    place: HubPlace, mirror: HubMirror, monkeypatch: pytest.MonkeyPatch, patch: str
) -> None:
    """Where nobody can tell whether it lives, its file is watched, and then taken up."""
    here = await kill_half_way(place, SIZE, patch)
    if patch:
        monkeypatch.setattr(FileLock, "acquire", lambda _: None)
    await place.run()
    assert [asked.range for asked in mirror.asked(WEIGHTS)] == [f"bytes={here}-"]
    assert place.contents() == FILES
    assert set(place.left()) == {path.resolve().name for path in place.snapshot.iterdir()}


@pytest.mark.parametrize("patch", list(WITHOUT_LOCKS.values())[1:], ids=list(WITHOUT_LOCKS)[1:])
async def test_two_processes_without_locks(place: HubPlace, mirror: HubMirror, patch: str) -> None:
    """Each writes a file of its own, also where one of them begins anew; both find whole files."""
    mirror.held.add(WEIGHTS)
    async with asyncio.timeout(120):
        processes = [await start(place, patch) for _ in range(2)]
        for _ in processes:
            await mirror.holds()
        assert len(list(place.blobs.glob(f"{DIGEST}.*-*.incomplete"))) == 2
        mirror.held.clear()
        mirror.release.set()
        assert [await process.wait() for process in processes] == [0, 0]
    assert place.contents() == FILES
    assert place.defect() is None
    assert set(place.left()) == {path.resolve().name for path in place.snapshot.iterdir()}


async def test_what_lies_on_the_disk_counts(place: HubPlace, mirror: HubMirror) -> None:
    """Bytes that change on the disk behind a download are found, and fetched once more."""
    mirror.held.add(WEIGHTS)
    async with asyncio.timeout(60):
        task = asyncio.ensure_future(place.run())
        await mirror.holds()
        while place.num_growing() < SIZE // 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        (file,) = place.blobs.glob(f"{DIGEST}.*.incomplete")
        with file.open("r+b") as stream:
            stream.write(b"garbage")
        mirror.held.clear()
        mirror.release.set()
        await task
    assert len(mirror.asked(WEIGHTS)) == 2
    assert place.contents() == FILES


@pytest.mark.parametrize("is_written", [False, True])
async def test_the_file_of_a_machine_out_of_sight(
    place: HubPlace, mirror: HubMirror, is_written: bool
) -> None:
    """A partial file that does not change is taken up; one that somebody writes is left alone."""
    place.blobs.mkdir(parents=True)
    file = place.blobs / ELSEWHERE
    file.write_bytes(FILES[WEIGHTS][:1000])
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            os.utime(file)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        if is_written:
            group.create_task(write())
        await place.run()
        stop.set()
    assert [asked.range for asked in mirror.asked(WEIGHTS)] == [
        None if is_written else "bytes=1000-"
    ]
    assert file.exists() is is_written
    assert place.contents() == FILES


async def test_a_file_that_is_held_changes(place: HubPlace, tmp_path: Path) -> None:
    """Who waits for the hub shows it: another download of this process leaves the file alone."""
    first, second = (Partials(tmp_path, place.limits) for _ in range(2))
    async with first.kept(), second.kept():
        first.take("etag").write_bytes(b"123")
        await second.survey()
        assert not second.take("etag").exists()
    assert (tmp_path / "etag.incomplete").read_bytes() == b"123"


async def test_the_most_that_is_left_is_taken_up(place: HubPlace) -> None:
    """Of several partial files of the same contents the largest is taken up, and stays alone."""
    place.blobs.mkdir(parents=True)
    for name, num_bytes in (("a.incomplete", 2), ("a.00000000-00000000.incomplete", 3)):
        (place.blobs / name).write_bytes(bytes(num_bytes))
    partials = Partials(place.blobs, place.limits)
    await partials.survey()
    name = partials.take("a").name
    assert place.left() == {name: 3}


async def test_what_is_left_of_other_revisions_goes(place: HubPlace, mirror: HubMirror) -> None:
    """Partial files of contents that the hub lists no more go; those of others do not."""
    mirror.repos[REPO]["other.gguf"] = b"other"
    place.blobs.mkdir(parents=True)
    stays = {
        f"{sha256(b'other')}.incomplete",  # of another model of the repository
        f"{'1' * 64}.0123abcd.incomplete",  # of huggingface_hub, which may be writing it
    }
    goes = {f"{'2' * 64}.incomplete", f"{'3' * 64}.00000000-00000000.incomplete"}
    for name in stays | goes:
        (place.blobs / name).write_bytes(b"1")
    await place.run()
    assert {name for name in place.left() if name.endswith(".incomplete")} == stays
    assert place.contents() == FILES


async def test_a_mirror_without_hashes_deletes_nothing(place: HubPlace, mirror: HubMirror) -> None:
    """Where the hub does not say what else it holds, a partial file may be of that."""
    mirror.lists_contents = False
    place.blobs.mkdir(parents=True)
    (place.blobs / "unknown.incomplete").write_bytes(b"1")
    await place.run()
    assert place.left()["unknown.incomplete"] == 1
