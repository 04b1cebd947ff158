"""Debian's Chromium, and services for it to open."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from tokenwire.edge.app import EdgeApp
from tokenwire.server.app import ServerApp

from ..edge.conftest import edge, front, serving  # noqa: F401 - fixtures
from .services import ScriptedService, Service, scripted_services

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

NewPage = Callable[..., Coroutine[Any, Any, "Page"]]

_ROOT = Path(__file__).resolve().parents[2]
_HERE = Path(__file__).parent
# On a busy machine, too.
_HANGS_MS = 120_000
# Beside errors that a page threw, which come as such.
_REFUSED_BY_POLICY = "Content Security Policy"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test that lives here."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.clients)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """A running Chromium without a window."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("needs the Debian package chromium")
    playwright = pytest.importorskip("playwright.async_api", reason="needs the extra browser")
    playwright.expect.set_options(timeout=_HANGS_MS)
    async with playwright.async_playwright() as driver:
        # no-sandbox: its sandbox refuses to run as root
        browser = await driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def new_page(chromium: Browser) -> AsyncIterator[NewPage]:
    """Opens pages, each in a context of its own, made with Playwright's options by name.

    At the end none of them may have thrown an error, been refused something by its own policy, or
    asked anything of another machine.
    """
    faults: list[str] = []
    contexts: list[Any] = []

    async def open_page(**options: Any) -> Page:
        context = await chromium.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(_HANGS_MS)

        def note_request(request: Any) -> None:
            address = urlsplit(request.url)
            if address.scheme not in ("data", "blob") and address.hostname != "127.0.0.1":
                faults.append(f"asked for {request.url}")

        def note_message(message: Any) -> None:
            if _REFUSED_BY_POLICY in message.text:
                faults.append(message.text)

        context.on("request", note_request)
        context.on("console", note_message)
        context.on("weberror", lambda error: faults.append(str(error.error)))
        return await context.new_page()

    yield open_page
    for context in contexts:
        await context.close()
    assert faults == []


@pytest_asyncio.fixture(loop_scope="session")
async def page(new_page: NewPage) -> Page:
    """An empty page."""
    return await new_page()


@pytest_asyncio.fixture(loop_scope="session")
async def service(edge: EdgeApp, front: ServerApp) -> Service:  # noqa: F811 - the fixtures
    """A service with the small model on llama.cpp, which serves."""
    await serving(front)
    return Service(f"http://127.0.0.1:{edge.port}", front, edge)


@pytest_asyncio.fixture(loop_scope="session")
async def scripted_service() -> AsyncIterator[ScriptedService]:
    """A service whose engine waits for `engine.allow(num_tokens)`."""
    async with scripted_services() as running:
        yield running


@pytest.fixture
def screenshots() -> Path:
    """Where pictures of the pages go; no part of the project."""
    folder = _ROOT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
