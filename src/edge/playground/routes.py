"""The playground and the files that it loads; for programs, where everything is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from aiohttp import ETag, web

from ... import __version__
from ..body import json_response
from ..config import EdgeConfig
from ..pages.routes import DOCUMENT_PATH, PAGE_PATHS

CSP = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""No inline script or style, nothing of elsewhere, and no text of a model as markup."""
ASSETS_PATH = "/playground/"
SERVICE_PATH = f"{ASSETS_PATH}service.json"
_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# Names of files stay the same over releases: browsers ask whether theirs is still the one.
_CACHED = "no-cache"


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    content_type: str
    etag: str


class PlaygroundRoutes:
    """Serves files of this package only, by fixed names; none where the playground is off."""

    def __init__(self, config: EdgeConfig) -> None:
        self._is_on = config.playground
        self._service = {
            "version": __version__,
            # The address that the edge itself calls is nobody's business: callers know the host.
            "grpcPort": _port(config),
            "grpcTls": config.grpc_target_tls,
        }
        folder = resources.files(__package__ or "")
        self._page = _file(folder / "index.html", "text/html")
        self._assets = dict(_assets(folder, "")) if self._is_on else {}

    def routes(self) -> list[web.RouteDef]:
        """Returns the routes to register."""
        if not self._is_on:
            return [web.get("/", self.redirect)]
        return [
            web.get("/", self.home),
            web.get(SERVICE_PATH, self.service),
            web.get(f"{ASSETS_PATH}{{name:.+}}", self.asset),
        ]

    async def redirect(self, _request: web.Request) -> web.Response:
        """Sends people to the interactive documentation."""
        return web.Response(status=302, headers={"Location": PAGE_PATHS[0]})

    async def home(self, request: web.Request) -> web.Response:
        """Answers the page to browsers, and to programs what there is and where."""
        if "text/html" in request.headers.get("Accept", ""):
            response = _answer(request, self._page)
            response.headers["Content-Security-Policy"] = CSP
            response.headers["Referrer-Policy"] = "no-referrer"
        else:
            response = json_response(self._index())
        response.headers["Vary"] = "Accept"
        return response

    async def service(self, _request: web.Request) -> web.Response:
        """Answers what the page cannot know by itself."""
        return json_response(self._service, headers={"Cache-Control": _CACHED})

    async def asset(self, request: web.Request) -> web.Response:
        """Answers one file of the page."""
        file = self._assets.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        return _answer(request, file)

    def _index(self) -> dict[str, str]:
        return {
            "service": "tokenwire",
            "version": __version__,
            "models": "/tokenwire/v1/models",
            "documentation": PAGE_PATHS[0],
            "openapi": DOCUMENT_PATH,
            "readiness": "/health/ready",
            "playground": "/ with Accept: text/html",
        }


def _port(config: EdgeConfig) -> int:
    """Returns the port of the gRPC server; behind a socket or a name without one, the usual."""
    port = config.grpc_target.rpartition(":")[2]
    return int(port) if port.isdecimal() else config.grpc_port


def _assets(folder: Traversable, path: str) -> Iterator[tuple[str, _File]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir() and not entry.name.startswith("_"):
            yield from _assets(entry, f"{path}{entry.name}/")
        elif (kind := _KINDS.get(f".{entry.name.rpartition('.')[2]}")) is not None:
            yield f"{path}{entry.name}", _file(entry, kind)


def _file(entry: Traversable, content_type: str) -> _File:
    data = entry.read_bytes()
    return _File(data, content_type, hashlib.sha256(data).hexdigest()[:32])


def _answer(request: web.Request, file: _File) -> web.Response:
    """Answers a file, or that the browser has it already."""
    headers = {"Cache-Control": _CACHED, "ETag": f'"{file.etag}"'}
    if ETag(file.etag) in (request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(
        body=file.data, content_type=file.content_type, charset="utf-8", headers=headers
    )
