"""A mirror of the hub on this machine: what `huggingface_hub` asks of one, and no more."""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web

REVISION = "0123456789abcdef0123456789abcdef01234567"


def safetensors(num_bytes: int = 64) -> bytes:
    """Makes the bytes of a safetensors file with one tensor."""
    tensor = {"dtype": "U8", "shape": [num_bytes], "data_offsets": [0, num_bytes]}
    header = json.dumps({"weight": tensor}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(num_bytes)


class HubMirror:
    """Serves repositories from memory, and remembers what was asked for.

    `status` answers every request with that status; `token` is demanded where it is set; files in
    `held` stop half-way until `release` is set.
    """

    def __init__(self, repos: dict[str, dict[str, bytes]]) -> None:
        self.repos = repos
        self.url = ""
        self.fetched: list[str] = []
        self.requests = 0
        self.status: int | None = None
        self.token: str | None = None
        self.held: set[str] = set()
        self.is_holding = asyncio.Event()
        self.release = asyncio.Event()

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[HubMirror]:
        """Listens on a free port until the block ends."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/api/models/{owner}/{name}", self._info)
        app.router.add_get("/api/models/{owner}/{name}/revision/{revision}", self._info)
        app.router.add_get("/{owner}/{name}/resolve/{revision}/{file:.+}", self._file)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            self.release.set()
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: web.Handler) -> web.StreamResponse:
        self.requests += 1
        if self.status is not None:
            return web.json_response({"error": "not today"}, status=self.status)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"error": "Invalid credentials"}, status=401)
        return await handler(request)

    def _repo(self, request: web.Request) -> dict[str, bytes]:
        repo = f"{request.match_info['owner']}/{request.match_info['name']}"
        if repo not in self.repos:
            raise web.HTTPNotFound(headers={"X-Error-Code": "RepoNotFound"})
        return self.repos[repo]

    async def _info(self, request: web.Request) -> web.Response:
        files = self._repo(request)
        repo = f"{request.match_info['owner']}/{request.match_info['name']}"
        siblings = [{"rfilename": name, "size": len(body)} for name, body in files.items()]
        return web.json_response({"id": repo, "sha": REVISION, "siblings": siblings})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["file"]
        body = self._repo(request).get(name)
        if body is None:
            raise web.HTTPNotFound(headers={"X-Error-Code": "EntryNotFound"})
        headers = {
            "ETag": f'"{hashlib.sha256(body).hexdigest()}"',
            "X-Repo-Commit": REVISION,
            "Content-Length": str(len(body)),
        }
        if request.method == "HEAD":
            return web.Response(headers=headers)
        self.fetched.append(name)
        if name not in self.held:
            return web.Response(body=body, headers=headers)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        self.is_holding.set()
        await self.release.wait()
        await response.write(body[len(body) // 2 :])
        return response
