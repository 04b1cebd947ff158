"""What a hub is asked and shown, and what its refusals mean."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import AsyncExitStack

import pytest
from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.files.hub import client

from ....surroundings import free_port
from .mirror import LISTING, REVISION, Fault, HubMirror
from .place import FILES, REPO, WEIGHTS, HubPlace


async def test_a_list_that_never_comes(place: HubPlace, mirror: HubMirror) -> None:
    """The list of files has a time limit and a variable of its own."""
    place.bound(metadata_timeout_s=0.1, max_tries=2)
    mirror.always[LISTING] = Fault(stall=0)
    with pytest.raises(
        ModelLoadFailed, match=r"nothing of the list of files for 0\.1 s .*HF_HUB_ETAG_TIMEOUT"
    ):
        await place.run()
    assert len(mirror.asked(LISTING)) == 2


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
        match=r"the hub cannot be reached \(.*refused.*\) \(6 tries in a row\); "
        r"check HF_ENDPOINT.*LLM_MODEL_PATH.*HF_HUB_OFFLINE",
    ) as caught:
        await place.run()
    host = place.endpoint.partition("@")[2]
    assert caught.value.detail == f"asked {host}"
    shown = (caught.value.message, *(step.text for step in place.steps))
    assert not [text for text in shown if "canary" in text or host in text]
    assert not place.cache.root.exists()


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
    """A refusal behind a redirect is told of the store, by its host to the log alone."""
    store = HubMirror(mirror.repos)
    store.status = 403
    async with store.serve():
        mirror.always[WEIGHTS] = Fault(redirect=store.url)
        with pytest.raises(ModelLoadFailed, match="where the hub keeps its files") as caught:
            await place.run()
    assert store.url[7:] not in caught.value.message
    assert caught.value.detail == f"asked {store.url[7:]}"
    assert "HF_TOKEN" not in caught.value.message


@pytest.mark.parametrize("target", ["", "ftp://host", "http://"])
async def test_redirects_that_lead_nowhere(place: HubPlace, mirror: HubMirror, target: str) -> None:
    """A circle of redirects, and addresses that are none, end the download."""
    mirror.always[WEIGHTS] = Fault(redirect=target)
    with pytest.raises(ModelLoadFailed, match="does not answer as a hub does"):
        await place.run()
    assert len(mirror.asked(WEIGHTS)) <= 20


async def test_redirects_at_their_limit_and_above(place: HubPlace, mirror: HubMirror) -> None:
    """Nineteen redirects are followed to a file; a twentieth is one too many."""
    mirror.fail(WEIGHTS, *[Fault(redirect="")] * 19)
    await place.run()
    assert len(mirror.asked(WEIGHTS)) == 20
    (place.snapshot / WEIGHTS).unlink()
    for blob in place.blobs.iterdir():
        blob.unlink()
    mirror.fail(WEIGHTS, *[Fault(redirect="")] * 20)
    with pytest.raises(ModelLoadFailed, match="does not answer as a hub does"):
        await place.run()
    assert len(mirror.asked(WEIGHTS)) == 40


async def test_a_list_of_files_at_its_limit_and_above(
    place: HubPlace, mirror: HubMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of as many bytes as the limit is read; of one more it is taken for something else."""
    siblings = [mirror._sibling(name, data) for name, data in FILES.items()]
    content = {"id": REPO, "sha": REVISION, "siblings": siblings}
    num_bytes = len(json.dumps(content))
    monkeypatch.setattr(client, "_MAX_LISTING_BYTES", num_bytes)
    await place.run()
    monkeypatch.setattr(client, "_MAX_LISTING_BYTES", num_bytes - 1)
    with pytest.raises(ModelLoadFailed, match="does not answer as a hub does"):
        await place.run()


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
    with pytest.raises(ModelLoadFailed, match="the hub cannot be reached") as caught:
        await place.run()
    assert caught.value.detail == "asked hub.invalid"


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
