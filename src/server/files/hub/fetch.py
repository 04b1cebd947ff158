"""Fetches the contents of one file: goes on where the last try ended, and checks the result."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import structlog

from .answers import KEPT, HubFile, stall
from .client import Body, HubClient
from .progress import HubProgress
from .retry import HubLimits, RetryBudget, TransientFailure, WrongContents

_logger = structlog.get_logger(__name__)

# Read in slices of about 50 ms, so that a download can be stopped meanwhile.
_SLICE_BYTES = 32 * 1024 * 1024


@dataclass
class FileFetch:
    """The download of one file's contents to `blob`, over `partial`, which nobody else writes."""

    client: HubClient
    revision: str
    file: HubFile
    partial: Path
    blob: Path
    progress: HubProgress
    limits: HubLimits
    budget: RetryBudget
    done: int = 0

    async def run(self) -> None:
        """Leaves the whole file at `blob`, or what has arrived at `partial`.

        Contents that are not what the hub named are thrown away, and fetched once more.

        Raises:
            HubFailure: the hub does not send it.
            OSError: it cannot be written.
        """
        # A damaged copy in a mirror's own cache may be gone the second time; an original is not.
        for is_last in (False, True):
            try:
                await self._fetch()
                return
            except WrongContents as failure:
                self.partial.unlink(missing_ok=True)
                if is_last:
                    raise WrongContents(
                        f"{failure.reason} (2 times); it has been deleted",
                        "the hub or mirror holds a damaged copy: check HF_ENDPOINT, or put the "
                        "files under LLM_MODEL_PATH",
                        failure.detail,
                    ) from failure
                _logger.warning(
                    "download_wrong",
                    file=self.file.name,
                    reason=failure.reason,
                    detail=failure.detail,
                )

    async def _fetch(self) -> None:
        # Unbuffered: what is written is in the file, also when this process is killed.
        descriptor = os.open(self.partial, os.O_RDWR | os.O_CREAT, 0o666)
        with os.fdopen(descriptor, "r+b", buffering=0) as stream:
            self.done = stream.seek(0, os.SEEK_END)
            # Without a size nobody can say whether more is to come.
            if self.file.size is None or self.done > self.file.size:
                self._start_over(stream)
            self.progress.found(self.file, self.done)
            while self.done != self.file.size:
                before = self.done
                try:
                    await self._receive(stream)
                except TransientFailure as failure:
                    if self.done - before >= self.limits.progress_bytes:
                        self.budget.refill()
                    await self.budget.wait_after(failure)
            # Before it gets its final name: that says it is whole, also after a power cut.
            await asyncio.to_thread(os.fsync, stream.fileno())
        # What lies on the disk counts, and not what was sent: a part may be of an earlier start.
        if not await has_right_contents(self.partial, self.file, self.progress):
            raise WrongContents(
                f"what {self.client.place.who} sends as {self.file.name} has not the hash that "
                "it is listed with",
                detail=self.client.place.asked,
            )
        self.partial.replace(self.blob)

    async def _receive(self, stream: BinaryIO) -> None:
        """Writes what one request brings.

        Raises:
            TransientFailure: it did not bring the rest.
            WrongContents: it brought something else.
        """
        async with self.client.open(self.revision, self.file, self.done) as body:
            self._check(body)
            if body.start == 0 and self.done:
                self._start_over(stream)
            begun = self.done
            window_s, window_bytes = time.monotonic(), 0
            async for data in body.stream.iter_any():
                if self.file.size is not None and self.done + len(data) > self.file.size:
                    raise WrongContents(
                        f"{body.place.who} sends more of {self.file.name} "
                        f"than its {self.file.size} bytes"
                    )
                _write(stream, data)
                self.done += len(data)
                self.progress.arrived(self.file, len(data))
                window_bytes += len(data)
                lasted_s = time.monotonic() - window_s
                if lasted_s >= self.limits.stall_timeout_s:
                    if window_bytes < self.limits.min_bytes_per_s * lasted_s:
                        raise stall(body.place, self.limits.stall_timeout_s)
                    window_s, window_bytes = time.monotonic(), 0
            self._check_end(body, begun)

    def _check(self, body: Body) -> None:
        size, total, who = self.file.size, body.total, body.place.who
        if size is not None and total is not None and size != total:
            raise WrongContents(
                f"{who} has {total} bytes of {self.file.name}, which is listed with {size}"
            )
        if body.start not in (0, self.done):
            raise WrongContents(f"{who} sends another part of {self.file.name} than was asked for")

    def _check_end(self, body: Body, begun: int) -> None:
        if self.file.size is None:
            # The end of the answer is all there is to go by; the hash decides.
            self.file = replace(self.file, size=self.done)
            return
        end = self.file.size if body.end is None else body.end
        # An empty part that says it is complete would be asked for again without end.
        if self.done < end or self.done == begun:
            raise TransientFailure(
                f"{body.place.who} ended {self.file.name} after {self.done} of "
                f"{self.file.size} bytes",
                KEPT,
            )

    def _start_over(self, stream: BinaryIO) -> None:
        stream.seek(0)
        stream.truncate()
        self.done = 0
        self.progress.found(self.file, 0)


async def has_right_contents(path: Path, file: HubFile, progress: HubProgress) -> bool:
    """Reads a file that is here and compares it with what the hub says of it, as far as it did."""
    total = path.stat().st_size  # noqa: ASYNC240 - as fast as a look at the clock
    if file.size not in (None, total):
        return False
    if file.sha256:
        digest = hashlib.sha256()
    elif file.git_sha1:
        # Git hashes a header before the contents; only the names of contents are compared.
        digest = hashlib.sha1(b"blob %d\x00" % total, usedforsecurity=False)
    else:
        return True

    def hash_slice() -> int:
        data = stream.read(_SLICE_BYTES)
        digest.update(data)
        return len(data)

    done = 0
    with path.open("rb", buffering=0) as stream:
        while num_read := await asyncio.to_thread(hash_slice):
            done += num_read
            progress.checking(file.name, done, total)
    return digest.hexdigest() == (file.sha256 or file.git_sha1)


def _write(stream: BinaryIO, data: bytes) -> None:
    # A write to a file that is almost full writes a part, and the next one fails.
    view = memoryview(data)
    while view:
        view = view[stream.write(view) :]
