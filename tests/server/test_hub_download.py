from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack
from pathlib import Path

import huggingface_hub
import pytest
from filelock import FileLock
from tokenwire.server.errors import ModelLoadFailed

from ..surroundings import free_port
from .hub_mirror import LISTING, REVISION, Fault, HubMirror, git_sha1, sha256
from .hub_place import FILES, REPO, WEIGHTS, HubPlace

SIZE = len(FILES[WEIGHTS])
SMALL = sum(len(body) for name, body in FILES.items() if name != WEIGHTS)


@pytest.fixture
async def mirror() -> AsyncGenerator[HubMirror]:
    async with HubMirror({REPO: dict(FILES)}).serve() as server:
        yield server


@pytest.fixture
def place(mirror: HubMirror, tmp_path: Path) -> HubPlace:
    return HubPlace(mirror, tmp_path)


async def cut_off(place: HubPlace) -> None:
    """Ends a download while half of the weights has arrived."""
    place.mirror.held.add(WEIGHTS)
    async with asyncio.timeout(60):
        task = asyncio.ensure_future(place.run())
        await place.mirror.is_holding.wait()
        while not place.partial.exists() or place.partial.stat().st_size < SIZE // 2:  # noqa: ASYNC110 - the other side of a socket tells nobody
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


async def test_a_killed_process_loses_nothing(place: HubPlace, mirror: HubMirror) -> None:
    """What a process that was killed had received lies on the disk, and is not fetched again."""
    mirror.held.add(WEIGHTS)
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tests.server.hub_mirror import HubMirror\n"
        "from tests.server.hub_place import HubPlace\n"
        "place = HubPlace(HubMirror({}), Path(sys.argv[1]))\n"
        "place.endpoint = sys.argv[2]\n"
        "asyncio.run(place.run())\n"
    )
    home = place.cache.root.parent
    process = await asyncio.create_subprocess_exec(
        "python", "-c", script, str(home), mirror.url, env={**os.environ, "PYTHONPATH": "."}
    )
    async with asyncio.timeout(120):
        await mirror.is_holding.wait()
        while not place.partial.exists() or place.partial.stat().st_size < SIZE // 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        process.kill()
        await process.wait()
    mirror.held.clear()
    here = place.partial.stat().st_size
    mirror.log.clear()
    await place.run()
    assert mirror.num_sent() == SIZE - here
    assert place.contents() == FILES


async def test_a_cut_body_is_gone_on_with(place: HubPlace, mirror: HubMirror) -> None:
    """A connection that closes in the middle costs a wait, and no byte twice."""
    mirror.fail(WEIGHTS, Fault(cut=1000), Fault(cut=2000))
    await place.run()
    assert [asked.range for asked in mirror.asked(WEIGHTS)] == [None, "bytes=1000-", "bytes=2000-"]
    assert mirror.num_sent([WEIGHTS]) == SIZE
    assert len(place.waits) == 2
    assert place.contents() == FILES


async def test_a_hub_that_always_cuts_is_given_up(place: HubPlace, mirror: HubMirror) -> None:
    """Tries without progress are bounded; the message names host, file and tries, no more."""
    mirror.always[WEIGHTS] = Fault(cut=1000)
    with pytest.raises(ModelLoadFailed) as caught:
        await place.run()
    assert caught.value.message == (
        f"'{REPO}' cannot be fetched: {mirror.url[7:]} closed the connection before {WEIGHTS} was "
        "complete (6 tries in a row); what has arrived is kept: the next start of the server goes "
        "on from there"
    )
    assert len(mirror.asked(WEIGHTS)) == 6
    assert place.left()[place.partial.name] == 1000
    assert place.defect() == "its download was cut off"
    mirror.always.clear()
    mirror.log.clear()
    await place.run()
    assert mirror.num_sent() == SIZE - 1000
    assert place.contents() == FILES


async def test_a_hub_that_ends_early_is_given_up(place: HubPlace, mirror: HubMirror) -> None:
    """Parts that are empty, and say that they are complete, count as failures."""
    mirror.fail(WEIGHTS, Fault(cut=1000))
    mirror.always[WEIGHTS] = Fault(short=1000)
    with pytest.raises(ModelLoadFailed, match=rf"ended .* after 1000 of {SIZE} bytes \(6 tries"):
        await place.run()
    assert len(mirror.asked(WEIGHTS)) == 6


async def test_tries_with_progress_are_not_counted_together(
    place: HubPlace, mirror: HubMirror
) -> None:
    """A hub that cuts each connection is put up with as long as enough comes between."""
    place.bound(progress_bytes=1000)
    mirror.fail(WEIGHTS, *(Fault(cut=1000 * number) for number in range(1, 20)))
    await place.run()
    assert len(mirror.asked(WEIGHTS)) == 20
    assert place.contents() == FILES


async def test_a_hub_without_parts(place: HubPlace, mirror: HubMirror) -> None:
    """Where ranges are not honoured, a cut file comes anew, and nothing is counted twice."""
    mirror.sends_parts = False
    mirror.fail(WEIGHTS, Fault(cut=100_000))
    await place.run()
    assert mirror.num_sent([WEIGHTS]) == 100_000 + SIZE
    assert place.contents() == FILES
    assert place.steps[-1].step == "downloading, 0.3 of 0.3 MiB"


@pytest.mark.parametrize("fault", [Fault(stall=1000), Fault(drip=1000)])
async def test_a_stall_is_noticed(place: HubPlace, mirror: HubMirror, fault: Fault) -> None:
    """A hub that sends nothing more, or a byte now and then, is asked again."""
    place.bound(stall_timeout_s=0.5)
    mirror.fail(WEIGHTS, fault)
    await place.run()
    assert place.contents() == FILES
    assert len(mirror.asked(WEIGHTS)) == 2
    assert mirror.asked(WEIGHTS)[1].range is not None


async def test_a_hub_that_always_stalls_is_given_up(place: HubPlace, mirror: HubMirror) -> None:
    """The message says how long nothing came and which variable makes it wait longer."""
    place.bound(stall_timeout_s=0.1, max_tries=2)
    mirror.always[WEIGHTS] = Fault(stall=0)
    with pytest.raises(
        ModelLoadFailed,
        match=r"sent nothing of model\.safetensors for 0\.1 s \(2 tries.*HF_HUB_DOWNLOAD_TIMEOUT",
    ):
        await place.run()
    assert len(mirror.asked(WEIGHTS)) == 2


async def test_a_list_that_never_comes(place: HubPlace, mirror: HubMirror) -> None:
    """The list of files has a time limit and a variable of its own."""
    place.bound(metadata_timeout_s=0.1, max_tries=2)
    mirror.always[LISTING] = Fault(stall=0)
    with pytest.raises(
        ModelLoadFailed, match=r"nothing of the list of files for 0\.1 s .*HF_HUB_ETAG_TIMEOUT"
    ):
        await place.run()
    assert len(mirror.asked(LISTING)) == 2


@pytest.mark.parametrize("name", [LISTING, "config.json", WEIGHTS])
async def test_a_hub_asks_to_wait(place: HubPlace, mirror: HubMirror, name: str) -> None:
    """A 429 is waited for as long as it asks, with the list as with files."""
    mirror.fail(
        name,
        Fault(status=429, headers={"Retry-After": "7"}),
        Fault(status=429, headers={"RateLimit": '"resolvers";r=0;t=55'}),
    )
    await place.run()
    assert place.waits == [7.0, 55.0]
    assert place.contents() == FILES
    assert any("next try in 7 s" in step.step for step in place.steps)


async def test_a_hub_asks_to_wait_for_too_long(place: HubPlace, mirror: HubMirror) -> None:
    """A wait beyond the bound is not begun, and told."""
    mirror.fail(WEIGHTS, Fault(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(ModelLoadFailed, match=r"asks to wait 3600 s, longer than the 300 s"):
        await place.run()
    assert place.waits == []
    assert len(mirror.asked(WEIGHTS)) == 1


@pytest.mark.parametrize("name", [LISTING, WEIGHTS])
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_hub_that_fails_is_asked_again(
    place: HubPlace, mirror: HubMirror, name: str, status: int
) -> None:
    """Some failures pass; waits grow from one to the next."""
    mirror.fail(name, *[Fault(status=status)] * 5)
    await place.run()
    assert place.contents() == FILES
    bounds = [(0.5, 1), (1, 2), (2, 4), (4, 8), (8, 16)]
    assert all(low <= s <= high for s, (low, high) in zip(place.waits, bounds, strict=True))


async def test_a_hub_that_keeps_failing_is_given_up(place: HubPlace, mirror: HubMirror) -> None:
    """Six tries, one clear error; the next run succeeds."""
    mirror.always[WEIGHTS] = Fault(status=500)
    with pytest.raises(
        ModelLoadFailed, match=r"failed \(status 500, asked for model\.safetensors\) \(6 tries"
    ):
        await place.run()
    assert len(mirror.asked(WEIGHTS)) == 6
    mirror.always.clear()
    await place.run()
    assert place.contents() == FILES


@pytest.mark.parametrize(
    ("name", "fault", "message"),
    [
        (LISTING, Fault(status=404), r"does not know it \(status 404\); check the id"),
        (
            WEIGHTS,
            Fault(status=404),
            r"lists model\.safetensors and does not have it .*check HF_ENDPOINT",
        ),
        (
            LISTING,
            Fault(status=401),
            r"status 401, asked for the list of files\) and no HF_TOKEN is set",
        ),
        (
            WEIGHTS,
            Fault(status=401),
            r"status 401, asked for model\.safetensors\) and no HF_TOKEN is set",
        ),
        (
            WEIGHTS,
            Fault(401, {"X-Error-Code": "GatedRepo"}),
            "accept the model's terms on its page and",
        ),
        (WEIGHTS, Fault(status=403), r"status 403.* and no HF_TOKEN is set"),
        (WEIGHTS, Fault(status=400), r"refuses \(status 400"),
        (WEIGHTS, Fault(status=410), r"refuses \(status 410"),
    ],
)
async def test_a_refusal_is_final(
    place: HubPlace,
    mirror: HubMirror,
    name: str,
    fault: Fault,
    message: str,
) -> None:
    """What another try does not mend is asked once, and the message says what does."""
    mirror.always[name] = fault
    with pytest.raises(ModelLoadFailed, match=message):
        await place.run()
    assert len(mirror.asked(name)) == 1
    assert place.waits == []
    assert place.contents() == {}
    mirror.always.clear()
    await place.run()
    assert place.contents() == FILES


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "does not accept what HF_TOKEN holds"), (403, "gives what HF_TOKEN holds no access")],
)
async def test_a_token_that_does_not_help(
    place: HubPlace, mirror: HubMirror, status: int, message: str
) -> None:
    """A token that is not known, and one without access, are told apart."""
    place.token = "hf_canary"
    mirror.always[WEIGHTS] = Fault(status=status)
    with pytest.raises(ModelLoadFailed, match=message):
        await place.run()


async def test_a_hub_that_is_not_up_yet(place: HubPlace, mirror: HubMirror) -> None:
    """A refused connection is tried again."""
    late = HubMirror(mirror.repos)
    port = free_port()
    place.endpoint = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        started = threading.Event()
        loop = asyncio.get_running_loop()

        async def start() -> None:
            await stack.enter_async_context(late.serve(port))
            started.set()

        async def sleep(seconds: float) -> None:
            place.waits.append(seconds)
            asyncio.run_coroutine_threadsafe(start(), loop)
            await asyncio.to_thread(started.wait, 30)

        place.sleep = sleep  # type: ignore[method-assign]
        await place.run()
    assert len(place.waits) == 1
    assert place.contents() == FILES


async def test_no_hub(place: HubPlace) -> None:
    """An address where nobody answers is given up after some tries, and variables are named."""
    place.endpoint = f"http://user:canary@127.0.0.1:{free_port()}"
    with pytest.raises(
        ModelLoadFailed,
        match=r"127\.0\.0\.1:\d+ cannot be reached \(.*refused.*\) \(6 tries in a row\); "
        r"check HF_ENDPOINT.*LLM_MODEL_PATH.*HF_HUB_OFFLINE",
    ) as caught:
        await place.run()
    assert "canary" not in caught.value.message
    assert not place.cache.root.exists()


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
async def test_wrong_contents_once(place: HubPlace, mirror: HubMirror, name: str) -> None:
    """Contents with another hash than the hub listed are thrown away and fetched once more."""
    mirror.fail(name, Fault(body=bytes(len(FILES[name]))))
    await place.run()
    assert len(mirror.asked(name)) == 2
    assert place.contents() == FILES


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
async def test_wrong_contents_always(place: HubPlace, mirror: HubMirror, name: str) -> None:
    """A mirror that serves garbage is given up the second time, and nothing of it stays."""
    mirror.always[name] = Fault(body=bytes(len(FILES[name])))
    with pytest.raises(ModelLoadFailed, match=r"has not the hash.*2 times.*has been deleted"):
        await place.run()
    assert len(mirror.asked(name)) == 2
    kept = {sha256(FILES[name]), git_sha1(FILES[name])}
    assert not any(left.removesuffix(".incomplete") in kept for left in place.left())
    assert place.contents() == {}
    assert place.defect() == "its download was cut off"
    mirror.always.clear()
    await place.run()
    assert place.contents() == FILES


@pytest.mark.parametrize(
    "fault", [Fault(body=FILES[WEIGHTS][:-1]), Fault(body=FILES[WEIGHTS] + b"x"), Fault(short=99)]
)
async def test_wrong_length(place: HubPlace, mirror: HubMirror, fault: Fault) -> None:
    """A file that is shorter or longer than it is listed is not fetched to its end."""
    mirror.always[WEIGHTS] = fault
    with pytest.raises(ModelLoadFailed, match=rf"has \d+ bytes of .* is listed with {SIZE}"):
        await place.run()
    assert len(mirror.asked(WEIGHTS)) == 2
    assert place.contents() == {}


async def test_a_part_left_by_others_is_checked(place: HubPlace, mirror: HubMirror) -> None:
    """What lies under the name of a cut file is part of the hash: garbage costs a download."""
    place.blobs.mkdir(parents=True)
    place.partial.write_bytes(b"garbage")
    await place.run()
    assert [asked.range for asked in mirror.asked(WEIGHTS)] == ["bytes=7-", None]
    assert place.contents() == FILES


async def test_a_part_that_is_too_long(place: HubPlace, mirror: HubMirror) -> None:
    """A part with more bytes than the file has is not gone on with."""
    place.blobs.mkdir(parents=True)
    place.partial.write_bytes(bytes(SIZE + 1))
    await place.run()
    assert [asked.range for asked in mirror.asked(WEIGHTS)] == [None]
    assert place.contents() == FILES


async def test_a_damaged_file_in_the_cache(place: HubPlace, mirror: HubMirror) -> None:
    """A file of the right length and wrong contents is found and replaced."""
    await place.run()
    blob = place.blobs / sha256(FILES[WEIGHTS])
    blob.write_bytes(bytes(SIZE))
    mirror.log.clear()
    await place.run()
    assert mirror.fetched == [WEIGHTS]
    assert place.contents() == FILES


async def test_a_hub_that_lists_names_only(place: HubPlace, mirror: HubMirror) -> None:
    """Sizes and hashes that do not come with the list are asked for, and hold as much."""
    mirror.tells_contents = False
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


async def test_equal_contents_are_fetched_once(place: HubPlace, mirror: HubMirror) -> None:
    """Two names of the same contents cost one download, and both are there."""
    mirror.repos[REPO]["copy.safetensors"] = FILES[WEIGHTS]
    await place.run()
    assert len(mirror.fetched) == len(FILES)
    assert place.contents() == mirror.repos[REPO]


async def test_the_token_stays_with_the_hub(
    place: HubPlace, mirror: HubMirror, capfd: pytest.CaptureFixture[str]
) -> None:
    """A redirect to another host gets the file there, without the token; no log has it."""
    place.token = mirror.token = "hf_canary"
    store = HubMirror(mirror.repos)
    async with store.serve():
        mirror.always[WEIGHTS] = Fault(redirect=store.url)
        store.fail(WEIGHTS, Fault(cut=1000))
        await place.run()
    assert {asked.authorization for asked in mirror.log} == {"Bearer hf_canary"}
    assert [asked.authorization for asked in store.log] == [None, None]
    assert [asked.range for asked in store.log] == [None, "bytes=1000-"]
    assert place.contents() == FILES
    assert "hf_canary" not in "".join(capfd.readouterr())


async def test_a_redirect_within_the_hub(place: HubPlace, mirror: HubMirror) -> None:
    """Behind a redirect to the same host the token is shown again."""
    place.token = mirror.token = "hf_canary"
    mirror.fail(WEIGHTS, Fault(redirect=mirror.url))
    await place.run()
    assert [asked.authorization for asked in mirror.asked(WEIGHTS)] == ["Bearer hf_canary"] * 2
    assert place.contents() == FILES


async def test_a_store_that_refuses(place: HubPlace, mirror: HubMirror) -> None:
    """A refusal behind a redirect is told of the host that refuses, and not of the token."""
    store = HubMirror(mirror.repos)
    store.status = 403
    async with store.serve():
        mirror.always[WEIGHTS] = Fault(redirect=store.url)
        with pytest.raises(ModelLoadFailed, match="where the hub keeps its files") as caught:
            await place.run()
    assert store.url[7:] in caught.value.message
    assert "HF_TOKEN" not in caught.value.message


@pytest.mark.parametrize("target", ["", "ftp://host", "http://"])
async def test_redirects_that_lead_nowhere(place: HubPlace, mirror: HubMirror, target: str) -> None:
    """A circle of redirects, and addresses that are none, end the download."""
    mirror.always[WEIGHTS] = Fault(redirect=target)
    with pytest.raises(ModelLoadFailed, match="does not answer as a hub does"):
        await place.run()
    assert len(mirror.asked(WEIGHTS)) <= 20


async def test_a_password_in_the_address(place: HubPlace, mirror: HubMirror) -> None:
    """User and password of HF_ENDPOINT are shown to it, and in no message."""
    place.endpoint = mirror.url.replace("//", "//user:canary@")
    place.token = "hf_canary"
    mirror.always[WEIGHTS] = Fault(status=401)
    with pytest.raises(ModelLoadFailed, match="what HF_ENDPOINT holds") as caught:
        await place.run()
    assert {asked.authorization for asked in mirror.log} == {"Basic dXNlcjpjYW5hcnk="}
    assert "canary" not in caught.value.message


async def test_a_proxy(place: HubPlace, mirror: HubMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual variables name a proxy, and hosts that need none."""
    place.endpoint = "http://hub.invalid"
    monkeypatch.setenv("http_proxy", mirror.url)
    await place.run()
    assert place.contents() == FILES
    monkeypatch.setenv("no_proxy", "hub.invalid")
    with pytest.raises(ModelLoadFailed, match=r"hub\.invalid cannot be reached"):
        await place.run()


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


@pytest.mark.parametrize(
    "body",
    [
        b"<html>sign in</html>",
        b"[]",
        b"{}",
        b'{"sha": "../../x", "siblings": []}',
        b'{"sha": "abc", "siblings": [{"size": 1}]}',
        b'{"sha": "abc", "siblings": 7}',
    ],
)
async def test_what_is_no_hub(place: HubPlace, mirror: HubMirror, body: bytes) -> None:
    """A page to sign in at, or any other answer, is not taken for a list of files."""
    mirror.fail(LISTING, Fault(body=body))
    with pytest.raises(ModelLoadFailed, match=r"does not answer as a hub does.*HF_ENDPOINT"):
        await place.run()
    assert not place.cache.root.exists()


async def test_an_etag_is_not_a_path(place: HubPlace, mirror: HubMirror) -> None:
    """A hub that names contents by something else than a hash cannot choose where they lie."""
    mirror.tells_contents = False
    mirror.etags[WEIGHTS] = '"../../../x"'
    await place.run()
    assert place.contents() == FILES
    assert len(place.left()) == len(FILES)
    assert not list(place.cache.root.parent.glob("x*"))


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
        await mirror.is_holding.wait()
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
        pytest.raises(ModelLoadFailed, match=r"another process has held .*tokenwire\.lock"),
    ):
        await place.run()
    await place.run()
    assert place.contents() == FILES


async def test_progress_counts_each_byte_once(place: HubPlace) -> None:
    """The fraction never falls, ends at one, and the words tell amounts."""
    await place.run()
    fractions = [step.fraction for step in place.steps if step.fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert place.steps[-1].step == "downloading, 0.3 of 0.3 MiB"


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
        match=rf"{small_disk.cache.root} has not enough room: 0\.3 MiB more are needed \(of 0\.3 "
        r"MiB\), 0\.2 MiB are free; .*HF_HOME",
    ):
        await small_disk.run()
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
        await mirror.is_holding.wait()
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
    with pytest.raises(ModelLoadFailed, match=r"hub cannot be written \(.*set HF_HOME"):
        await place.run()


async def test_the_mark_tells_hashes(place: HubPlace) -> None:
    """The mark of a whole download has the size and the ETag of each file."""
    await place.run()
    marks = list((place.blobs.parent / ".tokenwire").iterdir())
    content = json.loads(marks[0].read_text())
    assert content["complete"] is True
    assert content["files"] == {name: len(body) for name, body in FILES.items()}
    assert content["etags"][WEIGHTS] == sha256(FILES[WEIGHTS])
    assert (place.blobs.parent / "refs" / "main").read_text() == REVISION
