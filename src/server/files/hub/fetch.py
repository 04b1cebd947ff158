"""Fetches the contents of one file: goes on where the last try ended, and checks the result."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import structlog

from .answers import KEPT, stall
from .client import Body, HubClient
from .listing import HubFile
from .progress import HubProgress
from .retry import HubLimits, Sleep, TransientFailure, Tries, WrongContents

_logger = structlog.get_logger(__name__)

# Read in slices of about 50 ms, so that a download can be stopped meanwhile.
_SLICE_BYTES = 32 * 1024 * 1024
# A damaged copy in a mirror's own cache may be gone the second time; a damaged original is not.
_MAX_WRONG = 2


class Digest:
    """The hash of a file as its bytes come, in their order."""

    def __init__(self, file: HubFile) -> None:
        self._file = file
        self._sha256 = hashlib.sha256() if file.sha256 else None
        # Git hashes a header before the contents; only the names of contents are compared.
        self._sha1 = (
            hashlib.sha1(b"blob %d\x00" % file.size, usedforsecurity=False)
            if file.git_sha1 and file.size is not None
            else None
        )

    def update(self, data: bytes) -> None:
        """Adds the next bytes."""
        for hashed in (self._sha256, self._sha1):
            if hashed is not None:
                hashed.update(data)

    @property
    def is_right(self) -> bool:
        """Whether the bytes so far are the contents that the hub named, as far as it did."""
        if self._sha256 is not None:
            return self._sha256.hexdigest() == self._file.sha256
        return self._sha1 is None or self._sha1.hexdigest() == self._file.git_sha1


class FileFetch:
    """The download of one file's contents to `blob`, over `partial` beside it."""

    def __init__(
        self,
        client: HubClient,
        file: HubFile,
        *,
        repo: str,
        revision: str,
        partial: Path,
        blob: Path,
        progress: HubProgress,
        limits: HubLimits,
        sleep: Sleep,
    ) -> None:
        self._client = client
        self._repo = repo
        self._revision = revision
        self._file = file
        self._partial = partial
        self._blob = blob
        self._key = blob.name
        self._progress = progress
        self._limits = limits
        self._tries = Tries(limits, progress.retrying, sleep)
        self._digest = Digest(file)
        self._done = 0

    async def run(self) -> None:
        """Leaves the whole file at `blob`, or what has arrived at `partial`.

        Contents that are not what the hub named are thrown away, and fetched once more.

        Raises:
            HubFailure: the hub does not send it.
            OSError: it cannot be written.
        """
        num_wrong = 0
        while True:
            try:
                await self._fetch()
                return
            except WrongContents as failure:
                self._partial.unlink(missing_ok=True)
                num_wrong += 1
                if num_wrong == _MAX_WRONG:
                    raise WrongContents(
                        f"{failure.reason} ({num_wrong} times); it has been deleted",
                        "the hub or mirror holds a damaged copy: check HF_ENDPOINT, or put the "
                        "files under LLM_MODEL_PATH",
                    ) from failure
                _logger.warning("download_wrong", repo=self._repo, reason=failure.reason)

    async def _fetch(self) -> None:
        # Unbuffered: what is written is in the file, also when this process is killed.
        descriptor = os.open(self._partial, os.O_RDWR | os.O_CREAT, 0o666)
        with os.fdopen(descriptor, "r+b", buffering=0) as stream:
            await self._take_up(stream)
            while not self._is_complete:
                before = self._done
                try:
                    await self._receive(stream)
                except TransientFailure as failure:
                    if self._done - before >= self._limits.progress_bytes:
                        self._tries.start_again()
                    await self._tries.wait_after(failure)
            if not self._digest.is_right:
                raise WrongContents(
                    f"what {self._client.host} sends as {self._file.name} has not the hash that "
                    "it is listed with"
                )
            # Before it gets its final name: that says it is whole, also after a power cut.
            await asyncio.to_thread(os.fsync, stream.fileno())
        self._partial.replace(self._blob)

    @property
    def _is_complete(self) -> bool:
        return self._file.size is not None and self._done == self._file.size

    async def _take_up(self, stream: BinaryIO) -> None:
        """Hashes what an earlier download left."""
        here = os.fstat(stream.fileno()).st_size
        # Without a size nobody can say whether more is to come.
        if self._file.size is None or here > self._file.size:
            here = 0
            stream.truncate(0)
        self._digest = Digest(self._file)
        self._done = 0
        while self._done < here:
            size = min(_SLICE_BYTES, here - self._done)
            self._done += await asyncio.to_thread(_hash_slice, stream, self._digest, size)
            self._progress.taking_up(self._file.name, self._done, here)
        self._progress.found(self._key, self._done)

    async def _receive(self, stream: BinaryIO) -> None:
        """Writes what one request brings.

        Raises:
            TransientFailure: it did not bring the rest.
            WrongContents: it brought something else.
        """
        async with self._client.open(self._repo, self._revision, self._file, self._done) as body:
            self._check(body)
            if body.start == 0 and self._done:
                self._start_over(stream)
            begun = self._done
            window_s, window_bytes = time.monotonic(), 0
            async for data in body.stream.iter_any():
                self._done += len(data)
                if self._file.size is not None and self._done > self._file.size:
                    raise WrongContents(
                        f"{body.place.host} sends more of {self._file.name} "
                        f"than its {self._file.size} bytes"
                    )
                _write(stream, data)
                self._digest.update(data)
                self._progress.arrived(self._key, len(data))
                window_bytes += len(data)
                lasted_s = time.monotonic() - window_s
                if lasted_s >= self._limits.stall_timeout_s:
                    if window_bytes < self._limits.min_bytes_per_s * lasted_s:
                        raise stall(body.place, self._limits.stall_timeout_s)
                    window_s, window_bytes = time.monotonic(), 0
            self._check_end(body, begun)

    def _check(self, body: Body) -> None:
        size, total, host = self._file.size, body.total, body.place.host
        if size is not None and total is not None and size != total:
            raise WrongContents(
                f"{host} has {total} bytes of {self._file.name}, which is listed with {size}"
            )
        if body.start not in (0, self._done):
            raise WrongContents(
                f"{host} sends another part of {self._file.name} than was asked for"
            )

    def _check_end(self, body: Body, begun: int) -> None:
        if self._file.size is None:
            # The end of the answer is all there is to go by; the hash decides.
            self._file = replace(self._file, size=self._done)
            return
        end = self._file.size if body.end is None else body.end
        # An empty part that says it is complete would be asked for again without end.
        if self._done < end or self._done == begun:
            raise TransientFailure(
                f"{body.place.host} ended {self._file.name} after {self._done} of "
                f"{self._file.size} bytes",
                KEPT,
            )

    def _start_over(self, stream: BinaryIO) -> None:
        stream.seek(0)
        stream.truncate()
        self._digest = Digest(self._file)
        self._done = 0
        self._progress.found(self._key, 0)


async def has_right_contents(path: Path, file: HubFile, progress: HubProgress) -> bool:
    """Reads a file that is here and compares it with what the hub says of it."""
    digest = Digest(file)
    done = 0
    with path.open("rb", buffering=0) as stream:
        total = os.fstat(stream.fileno()).st_size
        while done < total:
            done += await asyncio.to_thread(_hash_slice, stream, digest, _SLICE_BYTES)
            progress.checking(file.name, done, total)
    return digest.is_right


def _hash_slice(stream: BinaryIO, digest: Digest, size: int) -> int:
    data = stream.read(size)
    digest.update(data)
    return len(data)


def _write(stream: BinaryIO, data: bytes) -> None:
    # A write to a file that is almost full writes a part, and the next one fails.
    view = memoryview(data)
    while view:
        view = view[stream.write(view) :]
