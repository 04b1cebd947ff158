"""A hub that fails: what is tried again, what is not, and what is told."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack

import huggingface_hub
import huggingface_hub.constants
import pytest
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.files.hub.retry import HubLimits

from ....surroundings import free_port
from .mirror import LISTING, REVISION, Fault, HubMirror
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
        (
            LISTING,
            Fault(404, {"X-Error-Code": "RevisionNotFound"}),
            r"has no revision 'main' of it \(status 404\); check LLM_MODEL_REVISIONS",
        ),
        (
            WEIGHTS,
            Fault(400, {"X-Xet-Hash": "0" * 64}),
            r"sends model\.safetensors through Xet alone, which this server does not speak; fetch "
            r"it with `hf download owner/tiny model\.safetensors` into the same cache",
        ),
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


async def test_a_store_that_refuses_what_lies_in_xet(place: HubPlace, mirror: HubMirror) -> None:
    """The hub names Xet and leads to a store: what that refuses is not to be had over HTTP."""
    store = HubMirror(mirror.repos)
    store.status = 400
    async with store.serve():
        mirror.always[WEIGHTS] = Fault(redirect=store.url, headers={"X-Xet-Hash": "0" * 64})
        with pytest.raises(ModelLoadFailed, match=r"through Xet alone.*`hf download"):
            await place.run()


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
