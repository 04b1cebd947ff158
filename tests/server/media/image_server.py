"""An https server of images on this machine, and a resolver that a test sets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache

import trustme
from aiohttp import web
from tokenwire.server.contract.image_host import ImageHost
from tokenwire.server.media.fetching import ImageFetcher
from tokenwire.server.media.public_addresses import is_public

NAME = "images.example.com"
HERE = "127.0.0.1"
"""Stands for a public address: this machine has no other that a test can listen on."""


def is_here_or_public(address: str) -> bool:
    return address == HERE or is_public(address)


@dataclass
class ImageServer:
    """Answers `/NAME` with what stands in `answers`, and keeps what it was asked.

    `addresses` are what the resolver says, one answer a question, the last one again and again.
    """

    port: int = 0
    answers: dict[str, web.StreamResponse] = field(default_factory=dict)
    requests: list[web.Request] = field(default_factory=list)
    addresses: list[Sequence[str]] = field(default_factory=lambda: [[HERE]])
    asked: list[str] = field(default_factory=list)
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def url(self, path: str = "image", name: str = NAME) -> str:
        return f"https://{name}:{self.port}/{path}"

    def fetcher(self, *names: str, fetch_s: float = 30.0) -> ImageFetcher:
        """A fetcher that may fetch from these names, at this server's port."""
        return ImageFetcher(
            [ImageHost(name, self.port) for name in names or (NAME,)],
            resolve=self.resolve,
            is_allowed=is_here_or_public,
            context=self.context,
            fetch_s=fetch_s,
        )

    async def resolve(self, name: str, port: int) -> Sequence[str]:
        assert port == self.port
        self.asked.append(name)
        return self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return self.answers[request.path[1:]]


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def image_server(*certified: str, address: str = HERE) -> AsyncGenerator[ImageServer]:
    """Serves with a certificate of these names."""
    authority = _authority()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(certified or (NAME,))).configure_cert(context)
    server = ImageServer()
    authority.configure_trust(server.context)
    app = web.Application()
    app.router.add_get("/{path}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address, 0, ssl_context=context)
        await site.start()
        server.port = runner.addresses[0][1]
        yield server
    finally:
        await runner.cleanup()


def found(body: bytes = b"bytes", **headers: str) -> web.Response:
    return web.Response(
        body=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def moved(location: str, status: int = 302) -> web.Response:
    return web.Response(status=status, headers={"Location": location})
