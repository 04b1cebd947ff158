"""The contents of one file from a hub that cuts, stalls, fails, or sends something else."""

from __future__ import annotations

import pytest
from tokenwire.server.contract.errors import ModelLoadFailed

from .mirror import LISTING, Fault, HubMirror, git_sha1, sha256
from .place import FILES, REPO, SIZE, WEIGHTS, HubPlace


async def test_a_cut_body_is_gone_on_with(place: HubPlace, mirror: HubMirror) -> None:
    """A connection that closes in the middle costs a wait, and no byte twice."""
    mirror.fail(WEIGHTS, Fault(cut=1000), Fault(cut=2000))
    await place.run()
    assert [asked.range for asked in mirror.asked(WEIGHTS)] == [None, "bytes=1000-", "bytes=2000-"]
    assert mirror.num_sent([WEIGHTS]) == SIZE
    assert len(place.waits) == 2
    assert place.contents() == FILES


async def test_a_hub_that_always_cuts_is_given_up(place: HubPlace, mirror: HubMirror) -> None:
    """Tries without progress are bounded; the message names file and tries, the log the host."""
    mirror.always[WEIGHTS] = Fault(cut=1000)
    with pytest.raises(ModelLoadFailed) as caught:
        await place.run()
    assert caught.value.message == (
        f"'{REPO}' cannot be fetched: the hub closed the connection before {WEIGHTS} was "
        "complete (6 tries in a row); what has arrived is kept: the next start of the server goes "
        "on from there"
    )
    assert caught.value.detail == f"asked {mirror.url[7:]}"
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
    assert place.steps[-1].text == "downloading, 0.3 of 0.3 MiB"


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
    assert any("next try in 7 s" in step.text for step in place.steps)


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


async def test_an_etag_is_not_a_path(place: HubPlace, mirror: HubMirror) -> None:
    """A hub that names contents by something else than a hash cannot choose where they lie."""
    mirror.lists_contents = False
    mirror.etags[WEIGHTS] = '"../../../x"'
    await place.run()
    assert place.contents() == FILES
    assert len(place.left()) == len(FILES)
    assert not list(place.cache.root.parent.glob("x*"))
