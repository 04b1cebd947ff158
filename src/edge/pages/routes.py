"""The interactive page and the document that it shows, with no network access."""

from __future__ import annotations

import hashlib
from importlib import resources

from aiohttp import ETag, web

_CSP = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "page.css": "text/css",
    "colours.js": "text/javascript",
    "streams.js": "text/javascript",
    "models.js": "text/javascript",
    "initializer.js": "text/javascript",
}
PAGE_PATHS = ("/swagger-ui", "/swagger-ui/")
DOCUMENT_PATH = "/api/openapi.json"


class PageRoutes:
    """Serves files of this package only, by fixed names."""

    def __init__(self) -> None:
        folder = resources.files(__package__ or "")
        self._page = (folder / "index.html").read_bytes()
        self._assets = {name: (folder / name).read_bytes() for name in _ASSETS}
        self._etags = {name: _etag(content) for name, content in self._assets.items()}
        self._document = (folder / "openapi.json").read_bytes()

    def routes(self) -> list[web.RouteDef]:
        """Returns the routes to register."""
        return [
            web.get(DOCUMENT_PATH, self.document),
            *(web.get(path, self.page) for path in PAGE_PATHS),
            web.get("/swagger-ui/{name}", self.asset),
        ]

    async def document(self, _request: web.Request) -> web.Response:
        """Answers the OpenAPI document."""
        return web.Response(body=self._document, content_type="application/json")

    async def page(self, _request: web.Request) -> web.Response:
        """Answers the page."""
        return web.Response(
            body=self._page,
            content_type="text/html",
            charset="utf-8",
            headers={"Content-Security-Policy": _CSP},
        )

    async def asset(self, request: web.Request) -> web.Response:
        """Answers one file of the page."""
        name = request.match_info["name"]
        if name not in self._assets:
            raise web.HTTPNotFound
        # no-cache: kept, but asked about each time. The parts fit each other in one version only.
        headers = {"Cache-Control": "public, no-cache"}
        etag = self._etags[name]
        if any(known.value == etag.value for known in request.if_none_match or ()):
            response = web.Response(status=304, headers=headers)
        else:
            response = web.Response(
                body=self._assets[name],
                content_type=_ASSETS[name],
                charset="utf-8",
                headers=headers,
            )
        response.etag = etag
        return response


def _etag(content: bytes) -> ETag:
    # weak: it may be sent compressed
    return ETag(hashlib.sha256(content).hexdigest()[:32], is_weak=True)
