"""Fetching from listed hosts, over real sockets with TLS."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator
from itertools import pairwise

import pytest
import pytest_asyncio
from aiohttp import web
from tokenwire.server.media.fetching import ImageFetcher, resolve_by_system
from tokenwire.server.media.image_source import RefusedImage

from .image_server import HERE, NAME, ImageServer, found, image_server, moved

NOT_PUBLIC = "not at an address of the public internet"


@pytest_asyncio.fixture
async def server() -> AsyncGenerator[ImageServer]:
    async with image_server() as running:
        yield running


async def test_fetch(server: ImageServer) -> None:
    """A listed host is resolved once, dialled at that address, and asked for the path."""
    server.answers["image"] = found(b"bytes", Content_Type="text/html")
    assert await server.fetcher().fetch(server.url("image?a=b#c"), 5) == b"bytes"
    (request,) = server.requests
    assert server.asked == [NAME]
    assert (request.path_qs, request.host) == ("/image?a=b", f"{NAME}:{server.port}")
    assert "Cookie" not in request.headers


async def test_no_hosts(server: ImageServer) -> None:
    """Without a list nothing is fetched."""
    with pytest.raises(RefusedImage, match="fetches no images"):
        await ImageFetcher([], resolve=server.resolve).fetch(server.url(), 5)
    assert server.asked == []


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        ["127.0.0.2"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["169.254.169.254"],
        ["fd00:ec2::254"],
        ["10.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        [HERE, "192.168.0.1"],
        ["8.8.8.8", "fe80::1%eth0"],
    ],
)
async def test_name_at_forbidden_address(server: ImageServer, addresses: list[str]) -> None:
    """A listed name that resolves to one address that is not public is refused, and not dialled."""
    server.addresses = [addresses]
    with pytest.raises(RefusedImage, match=NOT_PUBLIC):
        await server.fetcher().fetch(server.url(), 5)
    assert server.requests == []


async def test_real_check_refuses_this_machine(server: ImageServer) -> None:
    """Without the seams of this test the loopback is refused, whatever the resolver says."""
    fetcher = ImageFetcher(
        [*server.fetcher()._hosts], resolve=server.resolve, context=server.context
    )
    with pytest.raises(RefusedImage, match=NOT_PUBLIC):
        await fetcher.fetch(server.url(), 5)
    assert await resolve_by_system("localhost", 443)


async def test_resolver_that_changes_its_answer(server: ImageServer) -> None:
    """The second answer of a resolver is never asked for within one fetch, and checked in the next.

    What listens at the second address is asked nothing.
    """
    server.answers["image"] = found()
    server.addresses = [[HERE], ["127.0.0.2"]]
    fetcher = server.fetcher()
    assert await fetcher.fetch(server.url(), 5) == b"bytes"
    assert server.asked == [NAME]
    with pytest.raises(RefusedImage, match=NOT_PUBLIC):
        await fetcher.fetch(server.url(), 5)


async def test_rebinding_between_redirects(server: ImageServer) -> None:
    """A redirect to the same name resolves it anew, and what it is now is checked."""
    server.answers["image"] = moved("/other")
    server.answers["other"] = found()
    server.addresses = [[HERE], ["127.0.0.1", "127.0.0.2"]]
    with pytest.raises(RefusedImage, match=NOT_PUBLIC):
        await server.fetcher().fetch(server.url(), 5)
    assert [request.path for request in server.requests] == ["/image"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect(server: ImageServer, status: int) -> None:
    """A redirect within the list is followed."""
    server.answers["image"] = moved("other", status)
    server.answers["other"] = found()
    assert await server.fetcher().fetch(server.url(), 5) == b"bytes"


@pytest.mark.parametrize(
    "location",
    [
        "http://images.example.com/a",
        "https://images.example.com/a",  # another port
        "https://169.254.169.254/latest/meta-data/",
        "https://127.0.0.1/a",
        "https://[::1]/a",
        "https://2130706433/a",
        "//evil.example.com/a",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "https://user@images.example.com/a",
        "https://[",
    ],
)
async def test_redirect_that_leads_astray(server: ImageServer, location: str) -> None:
    """Where a redirect leads is checked as the first address was."""
    server.answers["image"] = moved(location)
    with pytest.raises(RefusedImage) as refused:
        await server.fetcher().fetch(server.url(), 5)
    assert "evil" not in str(refused.value)
    assert [request.path for request in server.requests] == ["/image"]
    assert server.asked == [NAME]


async def test_redirects_without_end(server: ImageServer) -> None:
    """Three redirects are followed, a fourth is not."""
    path = ["image", "second", "third", "fourth", "fifth"]
    server.answers |= {here: moved(there) for here, there in pairwise(path)}
    with pytest.raises(RefusedImage, match="more than 3 times"):
        await server.fetcher().fetch(server.url(), 5)
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [204, 206, 304, 401, 404, 500])
async def test_other_answers(server: ImageServer, status: int) -> None:
    """Every other status is a failure."""
    server.answers["image"] = web.Response(status=status)
    with pytest.raises(RefusedImage, match=f"status {status}"):
        await server.fetcher().fetch(server.url(), 5)


async def test_too_large(server: ImageServer) -> None:
    """A body over the limit is refused by its length."""
    server.answers["image"] = found(bytes(6))
    with pytest.raises(RefusedImage, match="has 6 bytes, the limit is 5"):
        await server.fetcher().fetch(server.url(), 5)


async def test_too_large_without_length(server: ImageServer) -> None:
    """A body that does not tell its length is read up to the limit only."""
    response = found(bytes(1 << 20))
    response.enable_chunked_encoding()
    server.answers["image"] = response
    with pytest.raises(RefusedImage, match="more than 5 bytes"):
        await server.fetcher().fetch(server.url(), 5)


async def test_compressed(server: ImageServer) -> None:
    """A body that is compressed on its way is not unpacked."""
    packed = gzip.compress(bytes(1 << 20))
    server.answers["image"] = found(packed, Content_Encoding="gzip")
    assert await server.fetcher().fetch(server.url(), len(packed)) == packed
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


async def test_certificate_of_another_name() -> None:
    """The certificate must be of the name that was asked for, not of the address."""
    async with image_server("other.example.com", HERE) as server:
        server.answers["image"] = found()
        with pytest.raises(RefusedImage, match="could not be reached"):
            await server.fetcher().fetch(server.url(), 5)
        assert server.requests == []


async def test_silence(server: ImageServer) -> None:
    """A host that does not answer is given up."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(listen, HERE, 0)
    async with silent:
        server.port = silent.sockets[0].getsockname()[1]
        with pytest.raises(RefusedImage, match=r"within 0.2 s"):
            await server.fetcher(fetch_s=0.2).fetch(server.url(), 5)


async def test_environment_is_not_followed(
    server: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment is not asked."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.answers["image"] = found()
    assert await server.fetcher().fetch(server.url(), 5) == b"bytes"


async def test_names_that_do_not_resolve(server: ImageServer) -> None:
    """A name that the resolver does not know is told without the name."""

    async def resolve(name: str, port: int) -> list[str]:
        raise OSError(f"{name}:{port}")

    fetcher = ImageFetcher([*server.fetcher()._hosts], resolve=resolve)
    with pytest.raises(RefusedImage) as refused:
        await fetcher.fetch(server.url(), 5)
    assert NAME not in str(refused.value)
