"""Asks a hub, or a mirror of it, for the files of a repository and for their bytes.

The routes and headers are those that `huggingface_hub` uses: `/api/models`, `/resolve`,
`X-Linked-Etag`. Its own download does not do here. Versions 1.33 and 2.4 were run beside this one
against a hub that fails:

- They throw away a partial file at every restart, and where a connection is reset.
- They ask for a file once where the hub answers 503.
- They wait without an end for a list of files that does not come, and on a long 429.
- They check no contents that come over HTTP.

What theirs has and this has not is Xet, which is faster: `hf download` into the same cache does
that, and the files are found there.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.request
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from urllib.parse import quote

import aiohttp
from aiohttp import hdrs
from yarl import URL

from .answers import (
    XET_HASH,
    HubFile,
    Listing,
    Place,
    failure_of_connection,
    failure_of_status,
    file_from_headers,
    listing_from_json,
    not_a_hub,
    xet_only,
)
from .retry import HubFailure, HubLimits, WrongContents

PUBLIC_HUB = "https://huggingface.co"
# As many as httpx follows for huggingface_hub.
_MAX_REDIRECTS = 20
# The listings of the largest repositories have a few MB.
_MAX_LISTING_BYTES = 64 * 1024 * 1024
# Large enough that a fast line costs few wake-ups, small beside any model.
_READ_BUFFER_BYTES = 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class HubAccess:
    """How the hub is reached. `endpoint` None: the public hub.

    `credential` names in words what holds the token.
    """

    endpoint: str | None
    token: str | None
    credential: str = "HF_TOKEN"


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes from `start` to `end` of a file of `total` bytes; None: the hub does not say."""

    start: int
    end: int | None
    total: int | None
    place: Place
    stream: aiohttp.StreamReader


class HubClient:
    """One session with a hub about one repository, for `async with`. Each call is one try.

    `reference` is a branch, a tag or a commit. `place` names it with host and repository.

    Raises:
        HubFailure: the endpoint is not an address.
    """

    def __init__(self, access: HubAccess, repo: str, reference: str, limits: HubLimits) -> None:
        try:
            address = URL((access.endpoint or PUBLIC_HUB).rstrip("/"))
            address.origin()
        except ValueError as error:
            raise HubFailure("HF_ENDPOINT is not an address", "correct it") from error
        # An address with a password is not kept: addresses get into messages.
        self._endpoint = address.with_user(None)
        self._authorization, credential = _authorization(address, access)
        self.place = Place(_host(self._endpoint), repo, reference, credential)
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> HubClient:
        """Opens the session, and no connection yet."""
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=_READ_BUFFER_BYTES
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes every connection at once."""
        if self._session is not None:
            await self._session.close()

    async def list_files(self) -> Listing:
        """Returns the commit that the reference stands for now, and its files.

        Raises:
            TransientFailure: another try may succeed.
            HubFailure: the hub refuses, or is none.
        """
        place = self.place
        path = f"/api/models/{place.repo}/revision/{quote(place.reference, safe='')}"
        url = self._url(path).update_query(blobs="true")
        text = bytearray()
        async with self._request(hdrs.METH_GET, url, place) as (response, _):
            async for piece in response.content.iter_any():
                text += piece
                if len(text) > _MAX_LISTING_BYTES:
                    raise not_a_hub(place)
        try:
            return listing_from_json(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise not_a_hub(place) from error

    async def describe(self, revision: str, name: str) -> HubFile:
        """Asks for size and hash of a file that the list of files lacks.

        Raises:
            TransientFailure: another try may succeed.
            HubFailure: the hub refuses, or names no ETag.
        """
        place = replace(self.place, file=name)
        url = self._file_url(revision, name)
        # Behind a redirect to another host is a store that knows nothing of a hub's headers.
        async with self._request(hdrs.METH_HEAD, url, place, leaves_host=False) as (response, _):
            file = file_from_headers(name, response.headers, is_redirect=response.status >= 300)
        if file is None:
            raise xet_only(place) if XET_HASH in response.headers else not_a_hub(place)
        return file

    def too_large(self, file: HubFile) -> HubFailure:
        """Returns the failure of a file that is larger than a hub sends over plain HTTP."""
        limit = f"{self._limits.max_file_bytes / 10**9:g} GB"
        return xet_only(replace(self.place, file=file.name), f", as all files above {limit}")

    @asynccontextmanager
    async def open(self, revision: str, file: HubFile, start: int) -> AsyncGenerator[Body]:
        """Opens the bytes of a file from `start` on, or from 0 where the hub sends no parts.

        What goes wrong while they are read is raised here, too.

        Raises:
            TransientFailure: another try may succeed.
            WrongContents: the hub has not as many bytes, or sends others.
            HubFailure: the hub refuses.
        """
        longest = self._limits.max_range_bytes
        headers: dict[str, str] = {}
        if file.size is not None and file.size - start > longest:
            headers[hdrs.RANGE] = f"bytes={start}-{start + longest - 1}"
        elif start:
            headers[hdrs.RANGE] = f"bytes={start}-"
        place = replace(self.place, file=file.name, patience="HF_HUB_DOWNLOAD_TIMEOUT")
        url = self._file_url(revision, file.name)
        timeout_s = self._limits.stall_timeout_s
        async with self._request(hdrs.METH_GET, url, place, timeout_s, headers) as (response, at):
            yield _body(response, at)

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        url: URL,
        place: Place,
        timeout_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        leaves_host: bool = True,
    ) -> AsyncGenerator[tuple[aiohttp.ClientResponse, Place]]:
        assert self._session is not None  # entered
        timeout_s = timeout_s or self._limits.metadata_timeout_s
        timeout = aiohttp.ClientTimeout(
            total=None, connect=timeout_s, sock_connect=timeout_s, sock_read=timeout_s
        )
        for _ in range(_MAX_REDIRECTS):
            sent = {
                hdrs.USER_AGENT: "tokenwire",
                # Ranges and lengths are those of the file, not of something packed.
                hdrs.ACCEPT_ENCODING: "identity",
                **(headers or {}),
            }
            if self._authorization and url.origin() == self._endpoint.origin():
                # Decided at each hop: a redirect must not carry the token to another host.
                sent[hdrs.AUTHORIZATION] = self._authorization
            try:
                async with self._session.request(
                    method,
                    url,
                    headers=sent,
                    timeout=timeout,
                    allow_redirects=False,
                    proxy=_proxy(url),
                ) as response:
                    place = replace(place, is_xet=place.is_xet or XET_HASH in response.headers)
                    target = _redirect(response, place)
                    if target is None or not (leaves_host or target.host == url.host):
                        if response.status >= 400:
                            raise failure_of_status(place, response.status, response.headers)
                        yield response, place
                        return
                    url = target
                    place = place.at(_host(url))
            except (aiohttp.ClientError, TimeoutError) as error:
                failure = failure_of_connection(place, error, timeout_s)
                failure.detail = place.asked
                raise failure from error
            except HubFailure as failure:  # also what the reader of the answer raises
                failure.detail = failure.detail or place.asked
                raise
        raise not_a_hub(place)

    def _url(self, path: str) -> URL:
        return URL(str(self._endpoint).rstrip("/") + path, encoded=True)

    def _file_url(self, revision: str, name: str) -> URL:
        return self._url(f"/{self.place.repo}/resolve/{revision}/{quote(name)}")


def _authorization(address: URL, access: HubAccess) -> tuple[str, str]:
    """Returns the header and what its secret is from; both empty where there is none."""
    if address.user is not None:
        # As httpx, and with it huggingface_hub, does: the address wins.
        pair = f"{address.user}:{address.password or ''}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}", "HF_ENDPOINT"
    return (f"Bearer {access.token}", access.credential) if access.token else ("", "")


def _host(url: URL) -> str:
    return str(url.host) if url.is_default_port() else f"{url.host}:{url.port}"


def _redirect(response: aiohttp.ClientResponse, place: Place) -> URL | None:
    location = response.headers.get(hdrs.LOCATION)
    if response.status not in (301, 302, 303, 307, 308) or location is None:
        return None
    try:
        # Signed addresses must stay as they are, to the letter.
        target = response.url.join(URL(location, encoded=True))
    except ValueError as error:
        raise not_a_hub(place) from error
    if target.scheme not in ("http", "https") or not target.host:
        raise not_a_hub(place)
    return target.with_user(None)


def _proxy(url: URL) -> str | None:
    """Returns the proxy that the environment names for an address.

    aiohttp's own `trust_env` would also take passwords from ~/.netrc, and fail where there is a
    token beside them.
    """
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy is None or not proxy.startswith(("http://", "https://")):
        return None
    return None if urllib.request.proxy_bypass(url.host or "") else proxy


def _body(response: aiohttp.ClientResponse, place: Place) -> Body:
    is_packed = response.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity"
    if response.status != 206:
        length = None if is_packed else response.content_length
        return Body(0, length, length, place, response.content)
    match = _CONTENT_RANGE.fullmatch(response.headers.get(hdrs.CONTENT_RANGE, ""))
    if match is None or is_packed:
        raise WrongContents(f"{place.who} sends parts of {place.what} that do not fit together")
    start, last, total = match.groups()
    return Body(
        int(start),
        int(last) + 1,
        int(total) if total.isdecimal() else None,
        place,
        response.content,
    )
