"""The playground's page, its files, and what programs get in its place."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import aiohttp
import pytest
import tokenwire
from aiohttp import web
from structlog.testing import capture_logs
from tokenwire.edge import playground
from tokenwire.edge.app import EdgeApp
from tokenwire.edge.playground.routes import ASSETS_PATH

from ..conftest import edge_config
from ..scripted import ScriptedFront

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
FOLDER = resources.files(playground)
IMPORT = re.compile(r"""\bfrom\s+"([^"]+)"|\bimport\s*\(""")
# The name of SVG is an address that nobody asks.
ADDRESS = re.compile(r"""https?://(?!www\.w3\.org/2000/svg)[^\s"'`<>)]+|["'`(]//\w""")


def files(folder: Traversable = FOLDER, path: str = "") -> dict[str, str]:
    """The texts of the page and of all that it loads, by their paths in the folder."""
    found: dict[str, str] = {}
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            found |= files(entry, f"{path}{entry.name}/")
        elif entry.is_file() and not entry.name.endswith(".py"):
            found[path + entry.name] = entry.read_text(encoding="utf-8")
    return found


FILES = files()


async def test_a_browser_gets_the_page(scripted_http: aiohttp.ClientSession) -> None:
    """Under a policy without inline code, and without markup made of text."""
    async with scripted_http.get("/", headers=HTML) as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        assert await response.text() == FILES["index.html"]
        policy = response.headers["Content-Security-Policy"].split("; ")
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "Accept" in response.headers["Vary"]
    assert policy[0] == "default-src 'self'"
    assert "require-trusted-types-for 'script'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in " ".join(policy)


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
async def test_a_program_gets_what_there_is(
    scripted_http: aiohttp.ClientSession, accept: str
) -> None:
    """A command such as curl is told where everything is, and each of it is there."""
    async with scripted_http.get("/", headers={"Accept": accept}) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert "Accept" in response.headers["Vary"]
        index = await response.json()
    assert (index["service"], index["version"]) == ("tokenwire", tokenwire.__version__)
    for name in ("models", "documentation", "openapi", "readiness"):
        async with scripted_http.get(index[name]) as response:
            assert response.status == 200, name


async def test_every_file_is_served_as_its_kind(scripted_http: aiohttp.ClientSession) -> None:
    """Browsers run no module of another type; theirs is asked for again, and then not sent."""
    kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    for name, text in FILES.items():
        if name == "index.html":
            continue
        async with scripted_http.get(f"{ASSETS_PATH}{name}") as response:
            assert response.status == 200, name
            assert response.content_type == kinds[name.rpartition(".")[2]], name
            assert response.headers["Cache-Control"] == "no-cache"
            assert await response.text() == text
            known = {"If-None-Match": response.headers["ETag"]}
        async with scripted_http.get(f"{ASSETS_PATH}{name}", headers=known) as response:
            assert response.status == 304, name
            assert await response.read() == b""


def test_what_the_page_loads_exists() -> None:
    """Each file that page or module names is there, and each that is there is named."""
    named = set(re.findall(rf'(?:src|href)="{ASSETS_PATH}([^"]+)"', FILES["index.html"]))
    for name, text in FILES.items():
        if not name.endswith(".js"):
            continue
        for target in IMPORT.findall(text):
            assert target.startswith("."), f"{name} imports {target or 'by expression'}"
            parts = [*name.split("/")[:-1]]
            for step in target.split("/"):
                if step == "..":
                    parts.pop()
                elif step != ".":
                    parts.append(step)
            named.add("/".join(parts))
    assert named == set(FILES) - {"index.html"}


def test_nothing_names_another_machine() -> None:
    """No asset, font or script comes from elsewhere."""
    for name, text in FILES.items():
        assert not ADDRESS.findall(text), name
        assert "@import" not in text


def test_the_page_has_nothing_inline() -> None:
    """The policy would refuse it: scripts, styles, handlers in attributes."""
    page = FILES["index.html"]
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    for name, text in FILES.items():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", text), name
        assert not re.search(r"\beval\(|new Function|setAttribute\(\"style", text), name


def test_every_file_is_package_data() -> None:
    """The wheel takes what `pyproject.toml` names, out of packages alone."""
    project = tomllib.loads(Path(__file__).parents[3].joinpath("pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    for name in FILES:
        folder, _, file = name.rpartition("/")
        assert any(fnmatch(file, pattern) for pattern in patterns), name
        assert (FOLDER / folder / "__init__.py").is_file(), f"{folder} is no package"


async def test_the_page_is_told_where_grpc_is(
    scripted: ScriptedFront, scripted_http: aiohttp.ClientSession
) -> None:
    """Its port, for commands to copy, and not the address that the edge itself calls."""
    async with scripted_http.get(f"{ASSETS_PATH}service.json") as response:
        told = await response.json()
    assert told == {
        "version": tokenwire.__version__,
        "grpcPort": int(scripted.target.rpartition(":")[2]),
        "grpcTls": False,
    }


@pytest.mark.parametrize("target", ["unix:/run/front.sock", "dns:///front"])
async def test_without_a_port_the_usual_one_is_told(target: str) -> None:
    """Behind a socket callers are on the port that the front has by default."""
    config = edge_config(LLM_GRPC_TARGET=target, LLM_GRPC_PORT="6001")
    async with EdgeApp(config) as app, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{app.port}{ASSETS_PATH}service.json"
        async with session.get(url) as response:
            assert (await response.json())["grpcPort"] == 6001


async def test_its_files_are_one_route(scripted_http: aiohttp.ClientSession) -> None:
    """However many there are: in the numbers, and the log tells of none unless it is asked to."""
    with capture_logs() as lines:
        for name in ("main.js", "looks/style.css", "no.js"):
            async with scripted_http.get(f"{ASSETS_PATH}{name}") as response:
                await response.read()
    told = [line for line in lines if line["event"] == "http_request"]
    assert [(line["route"], line["log_level"]) for line in told] == [
        (f"{ASSETS_PATH}{{name}}", "debug")
    ] * 3
    async with scripted_http.get("/metrics") as response:
        metrics = await response.text()
    routes = set(re.findall(rf'="({ASSETS_PATH}[^"]*)"', metrics))
    assert routes == {f"{ASSETS_PATH}{{name}}", f"{ASSETS_PATH}service.json"}
    previous = [line for line in metrics.splitlines() if line.startswith("llm_inference_http")]
    assert not [line for line in previous if ASSETS_PATH in line]


async def test_other_files_are_not_served(scripted_http: aiohttp.ClientSession) -> None:
    """Only what the page loads is served."""
    for name in ("routes.py", "index.html", "__init__.py", "page/", "..%2fapp.py", "page/../x.js"):
        async with scripted_http.get(f"{ASSETS_PATH}{name}") as response:
            assert response.status == 404, name


async def test_it_can_be_turned_off(scripted: ScriptedFront) -> None:
    """Then the bare address leads to the documentation, and no file of the page is there."""
    config = edge_config(LLM_GRPC_TARGET=scripted.target, LLM_PLAYGROUND="false")
    async with EdgeApp(config) as app, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{app.port}"
        async with session.get(f"{url}/", headers=HTML, allow_redirects=False) as response:
            assert response.status == 302
            assert response.headers["Location"] == "/swagger-ui"
        for name in ("main.js", "looks/style.css", "service.json"):
            async with session.get(f"{url}{ASSETS_PATH}{name}") as response:
                assert response.status == 404
        async with session.get(f"{url}/metrics") as response:
            assert 'http_requests_total{method="GET",route="/",status="302"} 1.0' in (
                await response.text()
            )
        registered = {r.resource.canonical for r in routes_of(app) if r.resource is not None}
    assert not any(path.startswith(ASSETS_PATH) for path in registered)


def routes_of(app: EdgeApp) -> list[web.AbstractRoute]:
    """All routes of an edge."""
    application: web.Application = app._runner.app
    return list(application.router.routes())
