"""The playground where something is missing, refused or gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from tokenwire.server.contract.prompts import ChatPrompt

from ..server.key_files import write_keys
from .conftest import NewPage
from .playground import DESKTOP, PHONE, Playground
from .services import ScriptedService, scripted_services

if TYPE_CHECKING:
    from playwright.async_api import Page

A_MINUTE = 60_000
GUARD_S = 45.0


async def test_a_missing_key_is_what_the_page_asks_for(page: Page, tmp_path: Path) -> None:
    """It says so everywhere, shows no setting of an unknown model, and does not ask in vain."""
    path = tmp_path / "keys.toml"
    key = write_keys(path, alice="")["alice"]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    async with scripted_services(front={"LLM_API_KEYS_FILE": str(path)}) as service:
        await page.clock.install()
        playground = await Playground(page, service.url).open("failed")
        field = page.get_by_label("API key", exact=True)
        await playground.shows(page.locator("#picker"), "API key needed")
        await playground.shows(page.locator(".start"), "needs an API key")
        for label in ("Shape of the answer", "The shape itself", "Thinking", "Tools, as JSON"):
            assert not await page.get_by_label(label, exact=True).is_visible(), label
        before = len(asked)
        await page.clock.run_for(A_MINUTE)
        assert len(asked) == before
        for _ in range(2):
            await field.fill("tw_wrong")
            await field.press("Enter")
            await playground.shows(page.locator("#settings"), "The service refused this key.")
        await field.fill(key)
        await field.press("Enter")
        await page.locator("#picker .dot[data-state=serving]").wait_for()
        assert await page.get_by_text("The service refused this key.").count() == 0


async def test_a_service_that_is_gone_is_asked_ever_less(
    page: Page, scripted_service: ScriptedService
) -> None:
    """Sooner at first, and not every second for as long as the page is open."""
    playground = await Playground(page, scripted_service.url).open()
    asked: list[str] = []
    await page.clock.install()
    await page.route("**/tokenwire/v1/models", lambda route: route.abort())
    page.on("request", lambda request: asked.append(request.url))
    await page.reload()
    await playground.shows(page.locator("#picker"), "unreachable")
    for _ in range(60):
        await page.clock.run_for(A_MINUTE / 60)
    assert 3 < len([url for url in asked if url.endswith("/models")]) < 10


async def test_copying_tells_what_is_in_its_way(
    page: Page, scripted_service: ScriptedService
) -> None:
    """Without the clipboard the text is marked; without the service the dialog says so."""
    await page.add_init_script(
        "navigator.clipboard.writeText = async () => { throw new DOMException('no'); }"
    )
    scripted_service.engine.allow(100)
    playground = await Playground(page, scripted_service.url).open()
    await playground.set("Max tokens", "2")
    await playground.ask("Count")
    await playground.ends()
    await page.get_by_role("button", name="Copy the answer").click()
    await page.get_by_role("button", name="Marked: press Ctrl + C").wait_for()
    assert (await page.evaluate("getSelection().toString()")).strip() == "0 1"
    copy_as = page.get_by_role("button", name="Copy as curl, grpcurl or Python")
    await copy_as.click()
    await page.get_by_role("button", name="Copy", exact=True).click()
    await page.get_by_role("button", name="Marked: press Ctrl + C").last.wait_for()
    assert "curl" in await page.evaluate("getSelection().toString()")
    await page.keyboard.press("Escape")
    await page.route("**/playground/service.json", lambda route: route.abort())
    await copy_as.click()
    await playground.shows(page.locator("#snippets"), "The connection to the service was lost.")
    assert not await page.get_by_role("button", name="Copy", exact=True).is_visible()
    await page.unroute("**/playground/service.json")
    await page.keyboard.press("Escape")
    await copy_as.click()
    await page.get_by_role("button", name="Copy", exact=True).wait_for()


async def test_a_refused_question_is_not_sent_again(
    page: Page, scripted_service: ScriptedService
) -> None:
    """Its setting is marked, and the next message goes without it, as the page says."""
    scripted_service.engine.allow(100)
    playground = await Playground(page, scripted_service.url).open()
    await playground.set("Max tokens", "1")
    await playground.set("Temperature", "3")
    await playground.ask("Refused")
    await playground.ends("failed")
    await playground.shows(playground.answer, "Later messages go without this question.")
    temperature = page.get_by_label("Temperature", exact=True)
    assert "must be" in await temperature.evaluate("node => node.validationMessage")
    await playground.set("Temperature", "1")
    await playground.ask("Fine")
    await playground.ends()
    prompt = scripted_service.engine.prompts[-1]
    assert isinstance(prompt, ChatPrompt)
    assert [message.content for message in prompt.messages] == ["Fine"]


async def test_settings_fit_the_window_as_it_changes(
    new_page: NewPage, scripted_service: ScriptedService
) -> None:
    """A window made narrow is not covered by them, and a sheet has no part out of sight."""
    page = await new_page(viewport=DESKTOP)
    playground = await Playground(page, scripted_service.url).open()
    settings = page.get_by_role("complementary", name="Settings")
    assert await settings.is_visible()
    await page.set_viewport_size(PHONE)
    await settings.wait_for(state="hidden")
    await page.get_by_role("button", name="Settings").click()
    box = await settings.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert await playground.overflow() == 0
    await page.keyboard.press("Escape")
    await page.set_viewport_size(DESKTOP)
    await settings.wait_for()


async def test_a_long_conversation_is_not_written_with_every_token(
    page: Page, scripted_service: ScriptedService
) -> None:
    """While an answer comes it alone is kept; with its end, everything."""
    await page.add_init_script(
        """window.written = [];
        const set = Storage.prototype.setItem;
        Storage.prototype.setItem = function (name, text) {
            window.written.push(text);
            return set.call(this, name, text);
        };"""
    )
    playground = await Playground(page, scripted_service.url).open()
    await playground.set("Max tokens", "4")
    await playground.ask("A long story")
    for number in range(3):
        scripted_service.engine.allow(1)
        kept = f"written.some(text => text.includes('\"text\":\"') && text.includes('{number} '))"
        async with asyncio.timeout(GUARD_S):
            while not await page.evaluate(kept):
                pass
    long = "written.filter(text => text.includes('A long story')).length"
    assert await page.evaluate(long) == 1
    scripted_service.engine.allow(1)
    await playground.ends()
    assert await page.evaluate(long) == 2
    await page.reload()
    await playground.shows(playground.answer, "0 1 2 3")
