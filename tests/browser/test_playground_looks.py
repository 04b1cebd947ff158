"""The playground on a desk and on a phone, light and dark, for eyes, screen readers and keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from .axe import serious_findings
from .conftest import NewPage
from .playground import DESKTOP, PHONE, Playground, answering, engine
from .services import ScriptedService, Service, scripted_services

if TYPE_CHECKING:
    from playwright.async_api import Page

ON_A_PHONE: dict[str, Any] = {
    "viewport": PHONE,
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}
WIDE = "word " * 40 + "\n\n```\n" + "wide " * 60 + "\n```\n\n" + "long" * 80 + "\n"


@pytest_asyncio.fixture(loop_scope="session")
async def able() -> AsyncIterator[ScriptedService]:
    """A model with every ability, which thinks, and writes what does not fit into a phone."""
    script = answering(WIDE, thinking="it depends")
    made = engine(script, tools=True, reasoning=True, reasoning_switch=True, images=True)
    made.allow(1000)
    async with scripted_services(made) as service:
        yield service


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", ["desk", "phone"])
async def test_nothing_serious_is_found(
    new_page: NewPage, able: ScriptedService, scheme: str, device: str
) -> None:
    """At the beginning, with an answer and all that folds open, and with each panel above it."""
    options = ON_A_PHONE if device == "phone" else {"viewport": DESKTOP}
    page = await new_page(**options, color_scheme=scheme, reduced_motion="reduce")
    playground = await Playground(page, able.url).open()
    assert await serious_findings(page) == []
    await playground.ask("Well?")
    await playground.ends()
    await playground.answer.get_by_text("Thinking, 2 tokens").click()
    assert await serious_findings(page) == []
    await page.locator("#picker").click()
    assert await serious_findings(page) == []
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Copy as curl, grpcurl or Python").click()
    assert await serious_findings(page) == []
    await page.keyboard.press("Escape")
    await able.engine.wait_until(running=0)
    if device == "phone":
        await page.get_by_role("button", name="Settings").click()
        assert await serious_findings(page) == []
    assert await playground.overflow() == 0


async def test_a_failure_and_a_queue_are_readable(page: Page) -> None:
    """What is shown while something is wrong passes as well."""
    async with scripted_services(engine(), front={"LLM_CRASH_CONTINUATION": "false"}) as service:
        playground = await Playground(page, service.url).open()
        await playground.ask("Count")
        assert await serious_findings(page) == []
        service.engine.die()
        await playground.ends("failed")
        assert await serious_findings(page) == []


async def test_it_fits_into_360_pixels(new_page: NewPage, able: ScriptedService) -> None:
    """Nothing is wider than the window, code scrolls in itself, and settings cover the page."""
    page = await new_page(**ON_A_PHONE)
    playground = await Playground(page, able.url).open()
    assert await playground.overflow() == 0
    await playground.ask("Long" * 60)
    await playground.ends()
    assert await playground.overflow() == 0
    code = playground.answer.locator("pre")
    assert await code.evaluate("node => node.scrollWidth > node.clientWidth")
    settings = page.get_by_role("complementary", name="Settings")
    assert not await settings.is_visible()
    await page.get_by_role("button", name="Settings").click()
    box = await settings.bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (PHONE["width"], PHONE["height"])
    await page.keyboard.press("Escape")
    await settings.wait_for(state="hidden")


async def test_dark_follows_the_system_and_the_switch(
    new_page: NewPage, able: ScriptedService
) -> None:
    """The system's choice holds until a person makes one, which outlives a reload."""

    async def is_dark(page: Page) -> bool:
        colour: str = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        red = int(colour.removeprefix("rgb(").split(",")[0])
        return red < 128

    page = await new_page(color_scheme="dark")
    await Playground(page, able.url).open()
    assert await is_dark(page)
    await page.emulate_media(color_scheme="light")
    assert not await is_dark(page)
    await page.get_by_role("button", name="Dark colours").click()
    assert await is_dark(page)
    await page.reload()
    assert await is_dark(page)
    await page.get_by_role("button", name="Light colours").click()
    assert not await is_dark(page)


async def test_the_keyboard_reaches_everything_in_order(page: Page, able: ScriptedService) -> None:
    """From the skip link over the head to the message; what has the focus shows it."""
    await Playground(page, able.url).open()
    await page.locator("body > :first-child").focus()
    reached: list[str] = []
    for _ in range(9):
        name, is_marked = await page.evaluate(
            """() => {
                const node = document.activeElement;
                const style = getComputedStyle(node);
                const frame = getComputedStyle(node.closest("form") ?? node, "::before");
                const marks = [style, frame].some((one) => parseFloat(one.outlineWidth) > 0
                    && one.outlineStyle !== "none");
                return [node.getAttribute("aria-label") ?? node.innerText, marks];
            }"""
        )
        assert is_marked, f"{name} does not show its focus"
        reached.append(name.split("\n")[0])
        await page.keyboard.press("Tab")
    assert reached[0] == "Skip to the message"
    assert reached[1] == "tokenwire playground"
    assert reached[3:6] == ["New conversation", "Dark colours", "Settings"]


LOOKS = {
    "playground-light": {"viewport": {"width": 1200, "height": 780}, "color_scheme": "light"},
    "playground-dark-phone": {**ON_A_PHONE, "color_scheme": "dark"},
}


@pytest.mark.parametrize("name", LOOKS)
async def test_pictures(new_page: NewPage, service: Service, screenshots: Path, name: str) -> None:
    """What the README shows: a real answer of the real model, with its plots."""
    page = await new_page(**LOOKS[name])
    playground = await Playground(page, service.url).open()
    settings = page.get_by_role("button", name="Settings", exact=True)
    is_sheet = await settings.get_attribute("aria-expanded") == "false"
    if is_sheet:
        await settings.click()
    await playground.set("Temperature", "0")
    await playground.set("Max tokens", "200")
    if is_sheet:
        await page.keyboard.press("Escape")
    await playground.ask("Give three tips for writing clear documentation.")
    await playground.ends()
    assert await playground.answer.locator(".plot path").count() >= 4
    await page.mouse.move(0, 0)
    await page.screenshot(path=screenshots / f"{name}.png")
