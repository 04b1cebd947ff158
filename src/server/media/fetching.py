"""Images from the hosts that the operator lists: resolved once, checked, and dialled there."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from ..contract.image_host import ImageHost
from ..settings.fixed_limits import IMAGE_FETCH_S, MAX_IMAGE_REDIRECTS
from .image_source import RefusedImage
from .image_url import parse_image_url
from .public_addresses import is_public

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From name and port to numeric addresses; raises OSError where there are none."""

_REDIRECTS: Final = (301, 302, 303, 307, 308)
_CHUNK_BYTES: Final = 1 << 16


async def resolve_by_system(name: str, port: int) -> Sequence[str]:
    """Asks the system's resolver."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class ImageFetcher:
    """Fetches images over https. It follows no setting of the environment: no proxy, no netrc.

    `resolve`, `is_allowed` and `context` are for tests, which have neither the internet nor its
    authorities.
    """

    def __init__(
        self,
        hosts: Collection[ImageHost],
        *,
        resolve: Resolve = resolve_by_system,
        is_allowed: Callable[[str], bool] = is_public,
        context: ssl.SSLContext | None = None,
        fetch_s: float = IMAGE_FETCH_S,
    ) -> None:
        self._hosts = frozenset(hosts)
        self._resolve = resolve
        self._is_allowed = is_allowed
        self._context = context
        self._fetch_s = fetch_s

    async def fetch(self, url: str, max_bytes: int) -> bytes:
        """Returns what an address holds, over at most three redirects.

        Raises:
            RefusedImage: the address, or one that it leads to, is not allowed; or there is no
                answer, a late one or one that is too large.
        """
        if not self._hosts:
            raise RefusedImage("this server fetches no images: send the bytes, or a data: address")
        try:
            async with asyncio.timeout(self._fetch_s):
                return await self._follow(url, max_bytes)
        except TimeoutError as error:
            raise RefusedImage(f"its host did not answer within {self._fetch_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            # Not its words, in which the address may stand.
            raise RefusedImage("its host could not be reached, or broke off") from error

    async def _follow(self, url: str, max_bytes: int) -> bytes:
        context = self._context
        if context is None:
            context = await asyncio.to_thread(ssl.create_default_context)
        for _ in range(MAX_IMAGE_REDIRECTS + 1):
            # Parsed anew, also where a redirect led: each host is checked, and resolved, by itself.
            target = parse_image_url(url, self._hosts)
            connector = aiohttp.TCPConnector(
                resolver=_CheckedResolver(self._resolve, self._is_allowed),
                use_dns_cache=False,
                force_close=True,
                ssl=context,
            )
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    # A body that is small on the way must not be large here.
                    auto_decompress=False,
                    trust_env=False,
                ) as session,
                session.get(
                    target, allow_redirects=False, headers={"Accept-Encoding": "identity"}
                ) as response,
            ):
                if response.status == 200:
                    return await _read(response, max_bytes)
                location = response.headers.get("Location", "")
                if response.status not in _REDIRECTS or not location:
                    raise RefusedImage(f"its host answered with status {response.status}")
                url = _join(target, location)
        raise RefusedImage(f"its address leads on more than {MAX_IMAGE_REDIRECTS} times")


class _CheckedResolver(AbstractResolver):
    """Gives aiohttp the addresses to dial, all of which were looked at."""

    def __init__(self, resolve: Resolve, is_allowed: Callable[[str], bool]) -> None:
        self._resolve = resolve
        self._is_allowed = is_allowed

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - of both families
    ) -> list[ResolveResult]:
        """Resolves a name; one address that is not public refuses them all."""
        addresses = await self._resolve(host, port)
        if not addresses or not all(map(self._is_allowed, addresses)):
            raise RefusedImage("its host is not at an address of the public internet")
        return [
            ResolveResult(
                hostname=host,  # what the certificate must name
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Holds nothing."""


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    if (response.content_length or 0) > max_bytes:
        raise RefusedImage(f"it has {response.content_length} bytes, the limit is {max_bytes}")
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > max_bytes:
            raise RefusedImage(f"it has more than {max_bytes} bytes, which is the limit")
    return bytes(body)


def _join(base: URL, location: str) -> str:
    try:
        return str(base.join(URL(location)))
    except ValueError as error:
        raise RefusedImage("its address leads to one that is malformed") from error
