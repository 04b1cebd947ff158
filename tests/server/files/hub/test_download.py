from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import threading
from collections.abc import Generator
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest
from filelock import FileLock
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.files.hub.retry import HubLimits

from .mirror import LISTING, REVISION, Fault, HubMirror, git_sha1, sha256
from .place import FILES, REPO, SIZE, SMALL, WEIGHTS, HubPlace

OTHER = "f" * 40


async def cut_off(place: HubPlace) -> None:
    """Ends a download while half of the weights has arrived."""
    place.mirror.held.add(WEIGHTS)
    async with asyncio.timeout(60):
        task = asyncio.ensure_future(place.run())
        await place.mirror.holds()
        while place.num_growing() < SIZE // 2:  # noqa: ASYNC110 - the other side of a socket tells nobody
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    place.mirror.held.clear()


async def threads_end() -> None:
    """Waits for the last instructions of threads that have said that they end."""
    for thread in threading.enumerate():
        if thread.name == "hub-download":
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive()


async def test_the_cache_is_that_of_huggingface_hub(place: HubPlace) -> None:
    """What was fetched is found by huggingface_hub itself, without a network."""
    found = await place.run()
    path = huggingface_hub.snapshot_download(
        REPO, cache_dir=place.cache.root, local_files_only=True
    )
    assert Path(path) == found.path
    assert place.contents() == FILES
    contents = {sha256(FILES[WEIGHTS])} | {git_sha1(FILES[n]) for n in FILES if n != WEIGHTS}
    assert set(place.left()) == contents
    assert place.defect() is None


async def test_the_mirror_is_a_hub_to_huggingface_hub(place: HubPlace, mirror: HubMirror) -> None:
    """What huggingface_hub fetches from the mirror is used, and not fetched again."""

    def fetch() -> str | None:
        for name in ("config.json", WEIGHTS):
            huggingface_hub.hf_hub_download(
                REPO, name, cache_dir=place.cache.root, endpoint=mirror.url
            )
        api = huggingface_hub.HfApi(endpoint=mirror.url)
        info = api.model_info(REPO, revision="main", files_metadata=True)
        assert {f.rfilename: f.size for f in info.siblings or []} == {
            name: len(body) for name, body in FILES.items()
        }
        return info.sha

    assert await asyncio.to_thread(fetch) == REVISION
    mirror.log.clear()
    await place.run()
    assert mirror.fetched == ["tokenizer.json"]
    assert place.contents() == FILES


async def test_a_cut_download_goes_on_where_it_ended(place: HubPlace, mirror: HubMirror) -> None:
    """After a restart only the missing bytes are asked for; files that are whole are not."""
    await cut_off(place)
    assert place.defect() == "its download was cut off"
    assert place.contents() == {}
    here = place.partial.stat().st_size
    mirror.log.clear()
    place.steps.clear()
    await place.run()
    assert mirror.fetched == [WEIGHTS]
    assert mirror.asked(WEIGHTS)[0].range == f"bytes={here}-"
    assert mirror.num_sent() == SIZE - here
    assert place.contents() == FILES
    fractions = [step.fraction for step in place.steps if step.fraction is not None]
    assert min(fractions) >= SMALL / (SMALL + SIZE)
    assert fractions[-1] == 1.0


async def test_a_hub_that_lists_names_only(place: HubPlace, mirror: HubMirror) -> None:
    """Sizes and hashes that do not come with the list are asked for, and hold as much."""
    mirror.lists_contents = False
    mirror.fail(WEIGHTS, Fault(body=bytes(SIZE)), Fault(cut=1000))
    await place.run()
    assert sorted(a.name for a in mirror.log if a.method == "HEAD") == sorted(FILES)
    assert [asked.range for asked in mirror.asked(WEIGHTS)] == [None, None, "bytes=1000-"]
    assert place.contents() == FILES


async def test_large_files_come_in_ranges(place: HubPlace, mirror: HubMirror) -> None:
    """A file beyond what one answer may hold is asked for in pieces, in one row."""
    place.bound(max_range_bytes=100_000)
    await place.run()
    ranges = [asked.range for asked in mirror.asked(WEIGHTS)]
    assert ranges[:3] == ["bytes=0-99999", "bytes=100000-199999", "bytes=200000-299999"]
    assert place.waits == []
    assert place.contents() == FILES


@pytest.mark.parametrize("reference", ["v1", "refs/pr/1", OTHER])
async def test_a_revision(place: HubPlace, mirror: HubMirror, reference: str) -> None:
    """A branch, a tag or a commit is fetched, and found under its name by huggingface_hub, too."""
    mirror.refs |= {"v1": OTHER, "refs/pr/1": OTHER}
    mirror.repos[f"{REPO}@{OTHER}"] = {**FILES, "config.json": b'{"b": 2}'}
    await place.run()
    place.reference = reference
    found = await place.run()
    assert found.revision == OTHER
    assert (found.path / "config.json").read_bytes() == b'{"b": 2}'
    assert place.contents() == FILES
    assert place.cache.snapshots(REPO, reference) == [found]
    assert [snapshot.revision for snapshot in place.cache.snapshots(REPO)] == [REVISION, OTHER]
    path = huggingface_hub.snapshot_download(
        REPO, revision=reference, cache_dir=place.cache.root, local_files_only=True
    )
    assert Path(path) == found.path


async def test_equal_contents_are_fetched_once(place: HubPlace, mirror: HubMirror) -> None:
    """Two names of the same contents cost one download, and both are there."""
    mirror.repos[REPO]["copy.safetensors"] = FILES[WEIGHTS]
    await place.run()
    assert len(mirror.fetched) == len(FILES)
    assert place.contents() == mirror.repos[REPO]


async def test_cancel_ends_at_once(place: HubPlace) -> None:
    """A download that is not wanted any more leaves no thread, no connection and no lock."""
    await cut_off(place)
    await threads_end()
    with FileLock(place.cache.lock_file(REPO), timeout=0):
        pass


async def test_cancel_during_a_wait(place: HubPlace, mirror: HubMirror) -> None:
    """The wait before another try does not hold up the end."""
    waits = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def sleep(_: float) -> None:
        loop.call_soon_threadsafe(waits.set)
        await asyncio.Event().wait()

    place.sleep = sleep  # type: ignore[method-assign]
    mirror.always[LISTING] = Fault(status=503)
    async with asyncio.timeout(30):
        task = asyncio.ensure_future(place.run())
        await waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await threads_end()


async def test_two_downloads_into_one_cache(place: HubPlace, mirror: HubMirror) -> None:
    """The second one waits for the first, and finds its files; nothing is fetched twice."""
    mirror.held.add(WEIGHTS)
    async with asyncio.timeout(60):
        first = asyncio.ensure_future(place.run())
        await mirror.holds()
        waiting = asyncio.Event()

        def report(progress: object) -> None:
            if "waiting for another server" in str(progress):
                waiting.set()

        second = asyncio.ensure_future(place.download().run(report))
        await waiting.wait()
        mirror.release.set()
        assert await first == await second
    assert sorted(mirror.fetched) == sorted(FILES)
    assert place.contents() == FILES


async def test_a_lock_that_is_never_freed(place: HubPlace) -> None:
    """Waiting for a process that fetches nothing is bounded."""
    place.bound(lock_stall_s=0.05)
    lock = place.cache.lock_file(REPO)
    lock.parent.mkdir(parents=True)
    with (
        FileLock(lock, timeout=0),
        pytest.raises(ModelLoadFailed, match="another process has held its lock") as caught,
    ):
        await place.run()
    assert str(lock) in caught.value.detail
    await place.run()
    assert place.contents() == FILES


async def test_progress_counts_each_byte_once(place: HubPlace) -> None:
    """The fraction never falls, ends at one, and the words tell amounts."""
    await place.run()
    fractions = [step.fraction for step in place.steps if step.fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert place.steps[-1].text == "downloading, 0.3 of 0.3 MiB"


async def test_the_mark_tells_hashes(place: HubPlace) -> None:
    """The mark of a whole download has the size and the ETag of each file."""
    await place.run()
    marks = list((place.blobs.parent / ".tokenwire").iterdir())
    content = json.loads(marks[0].read_text())
    assert content["complete"] is True
    assert content["files"] == {name: len(body) for name, body in FILES.items()}
    assert content["etags"][WEIGHTS] == sha256(FILES[WEIGHTS])
    assert (place.blobs.parent / "refs" / "main").read_text() == REVISION


async def test_a_file_that_is_too_large(place: HubPlace, mirror: HubMirror) -> None:
    """A file above 50 GB is not begun; with what `hf download` brings of it the rest is fetched."""
    place.bound(max_file_bytes=SIZE - 1)
    place.reference = "v1"
    mirror.refs["v1"] = REVISION
    with pytest.raises(
        ModelLoadFailed,
        match=r"Xet alone, as all files above 0\.000300082 GB, which .*; fetch it with `hf "
        r"download owner/tiny model\.safetensors --revision v1` into the same cache",
    ):
        await place.run()
    assert mirror.fetched == []
    await asyncio.to_thread(
        huggingface_hub.hf_hub_download,
        *(REPO, WEIGHTS),
        revision="v1",
        cache_dir=place.cache.root,
        endpoint=mirror.url,
    )
    await place.run()
    assert place.contents() == FILES
    assert len(mirror.asked(WEIGHTS)) == 1


def test_the_limit_is_that_of_the_hub() -> None:
    """What the hub sends over plain HTTP is what huggingface_hub says of it."""
    assert HubLimits().max_file_bytes == huggingface_hub.constants.MAX_HTTP_DOWNLOAD_SIZE


async def test_a_damaged_file_in_the_cache(place: HubPlace, mirror: HubMirror) -> None:
    """A file of the right length and wrong contents is found and replaced."""
    await place.run()
    blob = place.blobs / sha256(FILES[WEIGHTS])
    blob.write_bytes(bytes(SIZE))
    mirror.log.clear()
    await place.run()
    assert mirror.fetched == [WEIGHTS]
    assert place.contents() == FILES


@pytest.mark.parametrize(
    "name", ["../x.json", "/x.json", "a/../../x.json", "a//x.json", "./x.json", "..\\x.json"]
)
async def test_names_that_lead_out_of_the_folder(
    place: HubPlace, mirror: HubMirror, name: str
) -> None:
    """A mirror cannot have a file written anywhere else; nothing is fetched from it."""
    mirror.repos[REPO][name] = b"{}"
    with pytest.raises(ModelLoadFailed, match="outside the folder of the model"):
        await place.run(lambda names: names)
    assert mirror.fetched == []


async def test_pickles_and_code_are_never_fetched(place: HubPlace, mirror: HubMirror) -> None:
    """Only kinds of files that hold data are offered to whoever chooses."""
    others = ("tokenizer.py", "tokenizer.pkl", "model.bin", "model.pt", "tokenizer.so", "vocab.sh")
    mirror.repos[REPO].update(dict.fromkeys(others, b"x"))
    offered: list[str] = []

    def choose(names: list[str]) -> list[str]:
        offered.extend(names)
        return names

    await place.run(choose)
    assert sorted(offered) == sorted(FILES)


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
