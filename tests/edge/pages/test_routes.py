"""The page and the files that it loads."""

from __future__ import annotations

import hashlib
import re
import tomllib
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path

import aiohttp
import pytest
from tokenwire.edge import pages


async def test_the_document_is_served_as_the_package_holds_it(
    scripted_http: aiohttp.ClientSession,
) -> None:
    """What the page shows is the file that `make generate` wrote."""
    async with scripted_http.get("/api/openapi.json") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        served = await response.read()
    assert served == (resources.files(pages) / "openapi.json").read_bytes()


@pytest.mark.parametrize("path", ["/swagger-ui", "/swagger-ui/"])
async def test_the_page_needs_no_network(scripted_http: aiohttp.ClientSession, path: str) -> None:
    """The page and all that it loads come from here, under a policy that allows nothing else."""
    async with scripted_http.get(path) as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        policy = response.headers["Content-Security-Policy"]
        page = await response.text()
    assert policy.startswith("default-src 'self'")
    assert "unsafe" not in policy
    assert "http" not in re.sub(r"<!--.*?-->", "", page)
    assert not re.search(r"<script(?![^>]*src=)", page), "no inline script"
    for link in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        async with scripted_http.get(link) as response:
            assert response.status == 200
            assert await response.read()
            assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_parts_of_the_page_are_kept_as_long_as_they_are_the_same(
    scripted_http: aiohttp.ClientSession,
) -> None:
    """A browser asks each time, and is told in a few bytes that nothing has changed."""
    path = "/swagger-ui/swagger-ui-bundle.js"
    async with scripted_http.get(path) as response:
        etag = response.headers["ETag"]
        assert response.headers["Cache-Control"] == "public, no-cache"
    async with scripted_http.get(path, headers={"If-None-Match": etag}) as response:
        assert response.status == 304
        assert await response.read() == b""
        assert response.headers["ETag"] == etag
    async with scripted_http.get(path, headers={"If-None-Match": 'W/"another"'}) as response:
        assert response.status == 200


async def test_other_files_are_not_served(scripted_http: aiohttp.ClientSession) -> None:
    """Only the named files of the page are served."""
    for name in ("routes.py", "index.html", "..%2fapp.py"):
        async with scripted_http.get(f"/swagger-ui/{name}") as response:
            assert response.status == 404


def test_vendored_files_are_unchanged() -> None:
    """The files of swagger-ui-dist are those whose sums are written beside them."""
    folder = resources.files(pages)
    sums = (folder / "SHA256SUMS.txt").read_text().splitlines()[1:]
    assert len(sums) == 5
    for line in sums:
        digest, name = line.split()
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_every_file_of_the_page_is_package_data() -> None:
    """The wheel takes what `pyproject.toml` names: each file here that is no Python is named."""
    project = tomllib.loads(Path(__file__).parents[3].joinpath("pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    for file in resources.files(pages).iterdir():
        if file.is_file() and not file.name.endswith(".py"):
            assert any(fnmatch(file.name, pattern) for pattern in patterns), file.name
