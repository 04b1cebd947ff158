"""A hub that cannot be trusted: what it sends, where it leads, what it is shown."""

from __future__ import annotations

import pytest
from tokenwire.server.contract.errors import ModelLoadFailed

from .mirror import LISTING, Fault, HubMirror, git_sha1, sha256
from .place import FILES, REPO, SIZE, WEIGHTS, HubPlace


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
    mirror.lists_contents = False
    mirror.etags[WEIGHTS] = '"../../../x"'
    await place.run()
    assert place.contents() == FILES
    assert len(place.left()) == len(FILES)
    assert not list(place.cache.root.parent.glob("x*"))
