"""A mirror of the hub on this machine, which can be made to fail in every way that hubs do."""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from aiohttp import web

REVISION = "0123456789abcdef0123456789abcdef01234567"
# What faults of the list of files are kept under.
LISTING = ""


def safetensors(num_bytes: int = 64) -> bytes:
    """Makes the bytes of a safetensors file with one tensor."""
    tensor = {"dtype": "U8", "shape": [num_bytes], "data_offsets": [0, num_bytes]}
    header = json.dumps({"weight": tensor}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(num_bytes)


@dataclass(frozen=True)
class Fault:
    """How one request is answered wrongly.

    `status` with `headers` instead of an answer; `redirect` with `headers` to another address;
    `body` instead of the right one, listed with the right one's hash; and of the right one only
    what is before `cut` (then the connection is closed), `stall` (then nothing comes), `drip` (then
    a byte at a time) or `short` (which is told as its length).
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    redirect: str | None = None
    body: bytes | None = None
    cut: int | None = None
    stall: int | None = None
    drip: int | None = None
    short: int | None = None


@dataclass(frozen=True)
class Asked:
    """One request: `name` of the file, empty for the list; `num_sent` are bytes of its body."""

    method: str
    name: str
    range: str | None
    authorization: str | None
    status: int
    num_sent: int = 0


class HubMirror:
    """Serves repositories from memory, and remembers what was asked for.

    `faults` of a file are used up one a request, `always` stays. `status` answers every request
    with that status; `token` is demanded where it is set; files in `held` stop half-way until
    `release` is set. `lists_contents`: sizes and hashes come with the list of files, as from the
    public hub; otherwise with each file, under `etags`
    where they are set. `sends_parts`: ranges are honoured. `refs` are the branches and tags of all
    repositories; a repository `owner/name@commit` holds the files of that commit alone.
    """

    def __init__(self, repos: dict[str, dict[str, bytes]]) -> None:
        self.repos = repos
        self.url = ""
        self.log: list[Asked] = []
        self.status: int | None = None
        self.token: str | None = None
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.always: dict[str, Fault] = {}
        self.etags: dict[str, str] = {}
        self.lists_contents = True
        self.sends_parts = True
        self.held: set[str] = set()
        self.refs = {"main": REVISION}
        self._num_held = asyncio.Semaphore(0)
        self.release = asyncio.Event()

    @property
    def requests(self) -> int:
        """The number of requests so far."""
        return len(self.log)

    @property
    def fetched(self) -> list[str]:
        """The files whose bytes were asked for, each as often as it was."""
        return [asked.name for asked in self.log if asked.method == "GET" and asked.name]

    def asked(self, name: str, method: str = "GET") -> list[Asked]:
        """The requests for one file, `LISTING` for the list of files."""
        return [asked for asked in self.log if (asked.name, asked.method) == (name, method)]

    def num_sent(self, names: Iterable[str] | None = None) -> int:
        """The bytes of these files, or of all, that were sent."""
        chosen = None if names is None else set(names)
        return sum(a.num_sent for a in self.log if a.name and (chosen is None or a.name in chosen))

    async def holds(self) -> None:
        """Waits until one more request has been answered half-way."""
        await self._num_held.acquire()

    def fail(self, name: str, *faults: Fault) -> None:
        """Answers the next requests for a file with these faults."""
        self.faults[name].extend(faults)

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncGenerator[HubMirror]:
        """Listens on a port, by default on a free one, until the block ends."""
        app = web.Application()
        app.router.add_get("/api/models/{owner}/{name}/revision/{revision}", self._info)
        app.router.add_get("/api/models/{owner}/{name}/tree/{revision}", self._tree)
        app.router.add_get("/{owner}/{name}/resolve/{revision}/{file:.+}", self._file)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            self.release.set()
            await runner.cleanup()

    async def _info(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refuse(request, LISTING)
        if refusal is not None:
            return refusal
        repo = _repo(request)
        if repo not in self.repos:
            return self._answer(request, LISTING, 404, {"X-Error-Code": "RepoNotFound"})
        fault = self._next_fault(LISTING)
        if fault.status is not None:
            return self._answer(request, LISTING, fault.status, fault.headers)
        revision = request.match_info["revision"]
        commit = self.refs.get(revision, revision)
        if commit not in self.refs.values():
            return self._answer(request, LISTING, 404, {"X-Error-Code": "RevisionNotFound"})
        self._record(request, LISTING, 200)
        if fault.stall is not None:
            await self.release.wait()
        files = self._files(repo, commit)
        siblings = [self._sibling(name, body) for name, body in files.items()]
        content = {"id": repo, "sha": commit, "siblings": siblings}
        body = fault.body or json.dumps(content).encode()
        return web.Response(body=body, content_type="application/json")

    async def _tree(self, request: web.Request) -> web.StreamResponse:
        """Lists files as huggingface_hub's `snapshot_download` asks for them."""
        self._record(request, LISTING, 200)
        return web.json_response(
            [
                {"type": "file", "path": name, "size": len(body), "oid": git_sha1(body)}
                for name, body in self._files(
                    _repo(request), request.match_info["revision"]
                ).items()
            ]
        )

    def _files(self, repo: str, revision: str) -> dict[str, bytes]:
        commit = self.refs.get(revision, revision)
        return self.repos.get(f"{repo}@{commit}") or self.repos.get(repo, {})

    def _sibling(self, name: str, body: bytes) -> dict[str, object]:
        if not self.lists_contents:
            return {"rfilename": name}
        blob = {"rfilename": name, "size": len(body), "blobId": git_sha1(body)}
        if not name.endswith((".safetensors", ".gguf")):
            return blob
        pointer = {"size": len(body), "sha256": sha256(body), "pointerSize": 134}
        return {**blob, "blobId": git_sha1(b"pointer"), "lfs": pointer}

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["file"]
        refusal = self._refuse(request, name)
        if refusal is not None:
            return refusal
        revision = request.match_info["revision"]
        right = self._files(_repo(request), revision).get(name)
        fault = self._next_fault(name) if request.method == "GET" else Fault()
        if right is None:
            return self._answer(request, name, 404, {"X-Error-Code": "EntryNotFound"})
        if fault.status is not None:
            return self._answer(request, name, fault.status, fault.headers)
        etag = self.etags.get(name, f'"{sha256(right)}"')
        headers = {
            "ETag": etag,
            "X-Repo-Commit": self.refs.get(revision, revision),
            "X-Linked-Etag": etag,
            "X-Linked-Size": str(len(right)),
        }
        if fault.redirect is not None:
            headers.update(fault.headers)
            headers["Location"] = fault.redirect + request.path_qs
            return self._answer(request, name, 302, headers)
        return await self._send(request, name, right, fault, headers)

    async def _send(
        self,
        request: web.Request,
        name: str,
        right: bytes,
        fault: Fault,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        body = right if fault.body is None else fault.body
        start, end, status = 0, len(body), 200
        asked = request.http_range
        if self.sends_parts and asked.start is not None:
            start, end, status = asked.start, min(asked.stop or len(body), len(body)), 206
            if start >= len(body):
                return self._answer(request, name, 416, {"Content-Range": f"bytes */{len(body)}"})
        if fault.short is not None:
            end = fault.short
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(body)}"
        headers["Content-Length"] = str(end - start)
        if request.method == "HEAD":
            self._record(request, name, status)
            return web.Response(status=status, headers=headers)
        stop = next((at for at in (fault.cut, fault.stall, fault.drip) if at is not None), end)
        if name in self.held:
            stop = (start + end) // 2
        index = self._record(request, name, status)
        response = web.StreamResponse(status=status, headers=headers)
        response.force_close()
        await response.prepare(request)
        if stop > start:
            await response.write(body[start:stop])
        self.log[index] = replace(self.log[index], num_sent=max(stop - start, 0))
        if fault.cut is not None and request.transport is not None:
            request.transport.close()
        elif fault.drip is not None:
            for at in range(stop, end):
                await response.write(body[at : at + 1])
                await asyncio.sleep(0.02)
        elif fault.stall is not None or name in self.held:
            self._num_held.release()
            await self.release.wait()
            await response.write(body[stop:end])
            self.log[index] = replace(self.log[index], num_sent=end - start)
        return response

    def _refuse(self, request: web.Request, name: str) -> web.Response | None:
        if self.status is not None:
            return self._answer(request, name, self.status, {})
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return self._answer(request, name, 401, {})
        return None

    def _next_fault(self, name: str) -> Fault:
        waiting = self.faults[name]
        return waiting.popleft() if waiting else self.always.get(name, Fault())

    def _answer(
        self, request: web.Request, name: str, status: int, headers: dict[str, str]
    ) -> web.Response:
        self._record(request, name, status)
        return web.json_response({"error": "not today"}, status=status, headers=headers)

    def _record(self, request: web.Request, name: str, status: int) -> int:
        given = request.headers.get("Authorization")
        asked = Asked(request.method, name, request.headers.get("Range"), given, status)
        self.log.append(asked)
        return len(self.log) - 1


def sha256(body: bytes) -> str:
    """Returns the name of a large file's contents."""
    return hashlib.sha256(body).hexdigest()


def git_sha1(body: bytes) -> str:
    """Returns the name of a small file's contents, as git has it."""
    return hashlib.sha1(b"blob %d\x00" % len(body) + body).hexdigest()


def _repo(request: web.Request) -> str:
    return f"{request.match_info['owner']}/{request.match_info['name']}"
