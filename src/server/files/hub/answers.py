"""What an answer of a hub means: files, or a failure, or the lack of an answer.

Everything that a hub says is checked before anything is made of it.
"""

from __future__ import annotations

import datetime
import email.utils
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from .retry import HubFailure, TransientFailure, WrongContents

_UNREACHABLE = (
    "check HF_ENDPOINT and the network, or put the files under LLM_MODEL_PATH and set "
    "HF_HUB_OFFLINE=true"
)
_CHECK_PROXY = "check the variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
_CHECK_ENDPOINT = "check HF_ENDPOINT"
_CHECK_HTTPS = "check that HF_ENDPOINT is an https address, and the network"
_NAME_AUTHORITY = "name the file of its certificate authority in SSL_CERT_FILE"
KEPT = "what has arrived is kept: the next start of the server goes on from there"
# RateLimit: "api";r=0;t=55 (draft-ietf-httpapi-ratelimit-headers-09), as the public hub sends it.
_RATE_LIMIT = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d+)")
# Comes with every answer about a file that lies in Xet.
XET_HASH = "X-Xet-Hash"
DEFAULT_BRANCH = "main"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT_SHA1 = re.compile(r"[0-9a-f]{40}")
# Revisions and ETags become names of files.
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SAFE_PART = re.compile(r"[^\x00-\x1f\x7f/\\:~][^\x00-\x1f\x7f/\\:]{0,254}")
# What engines read. Pickles (.bin, .pt, .pkl) and code can run when they are loaded.
_SUFFIXES = (".safetensors", ".gguf", ".json", ".jinja", ".model", ".tiktoken", ".txt")


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file. `etag` names its contents in the cache; None where it is not known yet.

    `sha256` or `git_sha1` is what its contents must have; large files have the first, small ones
    the second, and where the hub lists neither only `size` can be checked.
    """

    name: str
    size: int | None = None
    etag: str | None = None
    sha256: str | None = None
    git_sha1: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of one revision of a repository, by name."""

    revision: str
    files: Mapping[str, HubFile]


def listing_from_json(content: Any) -> Listing:
    """Reads the answer of `/api/models/owner/repo/revision/main?blobs=true`.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is not such an answer.
    """
    revision = content["sha"]
    if not _SAFE_NAME.fullmatch(revision) or ".." in revision:
        raise ValueError("the revision is no name")
    siblings: list[Any] = content.get("siblings") or []
    files = [_file_from_json(item) for item in siblings]
    return Listing(revision, {file.name: file for file in files})


def _file_from_json(item: Any) -> HubFile:
    lfs: Any = item.get("lfs") or {}
    size: Any = lfs.get("size", item.get("size"))
    sha256: Any = lfs.get("sha256")
    # For a large file `blobId` is that of the pointer to it, not that of its contents.
    git_sha1: Any = None if lfs or item.get("xetHash") else item.get("blobId")
    sha256 = sha256 if sha256 and _SHA256.fullmatch(sha256) else None
    git_sha1 = git_sha1 if git_sha1 and _GIT_SHA1.fullmatch(git_sha1) else None
    return HubFile(
        str(item["rfilename"]),
        size if isinstance(size, int) and size >= 0 else None,
        sha256 or git_sha1,
        sha256,
        git_sha1,
    )


def file_from_headers(
    name: str, headers: Mapping[str, str], *, is_redirect: bool
) -> HubFile | None:
    """Reads the answer to HEAD on `/owner/repo/resolve/revision/file`; None without an ETag."""
    etag = headers.get("X-Linked-Etag") or headers.get("ETag") or ""
    etag = etag.removeprefix("W/").strip('"')
    if not etag:
        return None
    size = headers.get("X-Linked-Size") or (None if is_redirect else headers.get("Content-Length"))
    if not _SAFE_NAME.fullmatch(etag):
        etag = f"etag-{hashlib.sha256(etag.encode()).hexdigest()[:32]}"
    # An ETag of 40 digits is not trusted to be a hash of git: some mirrors send another SHA-1.
    sha256 = etag if _SHA256.fullmatch(etag) else None
    return HubFile(name, int(size) if size and size.isdecimal() else None, etag, sha256)


def is_inside(name: str) -> bool:
    """Whether the name of a file stays inside the folder of its repository."""
    parts = name.split("/")
    return all(_SAFE_PART.fullmatch(part) and part not in (".", "..") for part in parts)


def is_harmless(name: str) -> bool:
    """Whether a file is of a kind that only holds data."""
    return name.endswith(_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes, in words: never with a token or a password.

    `reference` is the branch, tag or commit that is wanted. `file` is empty for the list of files.
    `credential` names what holds the secret that the hub is shown, empty where it is shown none;
    `patience` the variable of the time limit. `is_hub` is not so behind a redirect to another host.
    `is_xet`: the hub says that the file lies in Xet.
    """

    host: str
    repo: str
    reference: str
    credential: str
    file: str = ""
    patience: str = "HF_HUB_ETAG_TIMEOUT"
    is_hub: bool = True
    is_xet: bool = False

    def at(self, host: str) -> Place:
        """Returns the same behind a redirect to `host`."""
        return replace(self, host=host, is_hub=self.is_hub and host == self.host)

    @property
    def who(self) -> str:
        """Who is asked, for callers: the host is for the log."""
        return "the hub" if self.is_hub else "the store where the hub keeps its files"

    @property
    def asked(self) -> str:
        """Who is asked, for the log."""
        return f"asked {self.host}"

    @property
    def what(self) -> str:
        """What is asked for."""
        return self.file or "the list of files"


def failure_of_status(place: Place, status: int, headers: Mapping[str, str]) -> HubFailure:
    """Returns what a status from 400 on means."""
    given = f"(status {status}, asked for {place.what})"
    if status in (401, 403):
        return _refusal(place, status, headers, given)
    if status in (408, 425, 429) or status >= 500:
        words = "takes no more requests for now" if status == 429 else "failed"
        return TransientFailure(
            f"{place.who} {words} {given}",
            f"try again later; {KEPT}" if place.file else "try again later",
            _retry_after_s(headers),
        )
    if status == 416:
        return WrongContents(f"{place.who} has less of {place.what} than has arrived")
    if place.is_xet:
        return xet_only(place)
    if status != 404:
        return HubFailure(f"{place.who} refuses {given}", _CHECK_ENDPOINT)
    if place.file:
        return HubFailure(
            f"{place.who} lists {place.file} and does not have it (status 404)",
            f"{_CHECK_ENDPOINT}: a mirror may hold the repository in part",
        )
    if headers.get("X-Error-Code") == "RevisionNotFound":
        return HubFailure(
            f"{place.who} has no revision '{place.reference}' of it (status 404)",
            "check LLM_MODEL_REVISIONS",
        )
    return HubFailure(f"{place.who} does not know it (status 404)", "check the id")


def failure_of_connection(
    place: Place, error: aiohttp.ClientError | TimeoutError, timeout_s: float
) -> HubFailure:
    """Returns what it means that an answer did not come, or not to its end."""
    who = place.who

    def unreachable(why: str, advice: str = _UNREACHABLE) -> TransientFailure:
        return TransientFailure(f"{who} cannot be reached ({why})", advice)

    match error:
        case aiohttp.ClientConnectorCertificateError():
            return HubFailure(f"the certificate of {who} is not trusted", _NAME_AUTHORITY)
        case aiohttp.ClientConnectorDNSError():
            return unreachable("no address is known for it")
        case aiohttp.ConnectionTimeoutError():
            return unreachable(f"no connection within {timeout_s:g} s")
        case aiohttp.ClientSSLError():
            return unreachable("no encrypted connection comes about", _CHECK_HTTPS)
        case aiohttp.ClientProxyConnectionError():
            words = f"the proxy on the way to {who} cannot be reached ({_cause(error)})"
            return TransientFailure(words, _CHECK_PROXY)
        case aiohttp.ClientHttpProxyError():
            words = f"the proxy on the way to {who} refuses (status {error.status})"
            return HubFailure(words, _CHECK_PROXY)
        case aiohttp.ClientConnectorError():
            return unreachable(_cause(error))
        case TimeoutError():
            return stall(place, timeout_s)
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return HubFailure(f"{who} sends to an address that is none", _CHECK_ENDPOINT)
        case _:
            words = f"{who} closed the connection before {place.what} was complete"
            return TransientFailure(words, KEPT if place.file else _UNREACHABLE)


def stall(place: Place, timeout_s: float) -> TransientFailure:
    """Returns the failure of a hub that sends nothing, or next to nothing."""
    return TransientFailure(
        f"{place.who} sent nothing of {place.what} for {timeout_s:g} s",
        f"{place.patience} makes it wait longer; {KEPT if place.file else _UNREACHABLE}",
    )


def not_a_hub(place: Place) -> HubFailure:
    """Returns the failure of a server that answers, but not as a hub does."""
    return HubFailure(
        f"{place.who} does not answer as a hub does (asked for {place.what})",
        _CHECK_ENDPOINT,
        place.asked,
    )


def xet_only(place: Place, why: str = "") -> HubFailure:
    """Returns the failure of a file that does not come over plain HTTP."""
    revision = "" if place.reference == DEFAULT_BRANCH else f" --revision {place.reference}"
    return HubFailure(
        f"{place.who} sends {place.file} through Xet alone{why}, which this server does not speak",
        f"fetch it with `hf download {place.repo} {place.file}{revision}` into the same cache: "
        "the next start of the server finds it there",
        place.asked,
    )


def _refusal(place: Place, status: int, headers: Mapping[str, str], given: str) -> HubFailure:
    if not place.is_hub:
        return HubFailure(
            f"{place.who} refuses {given}",
            "check the proxy and the clock of this machine",
        )
    is_gated = headers.get("X-Error-Code") == "GatedRepo"
    if not place.credential:
        terms = "accept the model's terms on its page and " if is_gated else ""
        return HubFailure(
            f"{place.who} wants a token {given} and no HF_TOKEN is set",
            f"{terms}set HF_TOKEN to one with access to it; a hub says so of ids that do not "
            "exist, too: check the id",
        )
    if status == 401 and not is_gated:
        return HubFailure(
            f"{place.who} does not accept what {place.credential} holds {given}",
            f"set {place.credential} anew, and check the id",
        )
    return HubFailure(
        f"{place.who} gives what {place.credential} holds no access {given}",
        "ask for access on the model's page, or take the token of an account that has it",
    )


def _cause(error: aiohttp.ClientConnectorError) -> str:
    number = error.os_error.errno
    return os.strerror(number).lower() if number else "the connection failed"


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    limit = _RATE_LIMIT.search(headers.get("RateLimit", ""))
    if limit:
        return float(limit[1])
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    now = datetime.datetime.now(datetime.UTC)
    return max(0.0, (moment.astimezone(datetime.UTC) - now).total_seconds())
