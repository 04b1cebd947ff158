"""What a hub says about the files of a repository, checked before anything is made of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT_SHA1 = re.compile(r"[0-9a-f]{40}")
# Revisions and ETags become names of files.
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SAFE_PART = re.compile(r"[^\x00-\x1f\x7f/\\:~][^\x00-\x1f\x7f/\\:]{0,254}")
# What engines read. Pickles (.bin, .pt, .pkl) and code can run when they are loaded.
_SUFFIXES = (".safetensors", ".gguf", ".json", ".jinja", ".model", ".tiktoken", ".txt")


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file. `etag` names its contents in the cache; None where the hub has not told it yet.

    `sha256` or `git_sha1` is what its contents must have; large files have the first, small ones
    the second, and where the hub tells neither only `size` can be checked.
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
    git_sha1: Any = None if lfs else item.get("blobId")
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
