"""The playground goes on, whatever a model writes and a tab has kept."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from .playground import Playground, answering, engine
from .services import ScriptedService, scripted_services

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

DEEP = {
    "quotes": ">" * 6000,
    "lists": "\n".join("  " * level + "- item" for level in range(1500)),
    "emphasis": "**a *b " * 3000 + "c* d** " * 3000,
    "marks": "*" * 20_000 + "a" + "*" * 20_000,
    "arrays": "[" * 30_000 + "]" * 30_000,
    "numbers": json.dumps([*range(90_000)]),
    "escapes": '[{"code": "' + '\\"' * 60_000,
}
BROKEN_KEEPS: dict[str, Any] = {
    "null": [None],
    "another release": [{"role": "user", "text": "Hi"}, {"role": "assistant", "text": "Hello"}],
    "no text": [{"role": "user"}],
    "no list": {"length": 1},
    "images": [{"role": "user", "text": "Hi", "images": [None]}],
}


@pytest.mark.parametrize("name", DEEP)
async def test_an_answer_that_is_hard_to_draw_ends(page: Page, name: str) -> None:
    """It is shown in some form, and the next conversation is as the first one."""
    made = engine(answering(DEEP[name]))
    made.allow(10_000)
    async with scripted_services(made) as service:
        playground = await Playground(page, service.url).open()
        await playground.ask("Write")
        await playground.ends()
        shown = await playground.answer.locator(".prose").last.evaluate("n => n.textContent")
        assert shown.strip()
        await page.get_by_role("button", name="New conversation").click()
        made.script = answering("As ever.")
        await playground.ask("Write")
        await playground.shows(playground.answer, "As ever.")
        await playground.ends()


async def test_a_fault_in_drawing_leaves_the_text(page: Page) -> None:
    """The answer stands there as it came, and the page goes on."""

    async def broken(route: Route) -> None:
        body = "export function showMarkdown() { throw new Error('a fault'); }"
        await route.fulfill(body=body, content_type="text/javascript")

    await page.route("**/drawing/markdown.js", broken)
    made = engine(answering("It *stands* there."))
    made.allow(100)
    async with scripted_services(made) as service:
        playground = await Playground(page, service.url).open()
        for _ in range(2):
            await playground.ask("Write")
            await playground.ends()
            await playground.shows(playground.answer, "It *stands* there.")
        await page.reload()
        await playground.shows(playground.answer, "It *stands* there.")
        await page.get_by_role("button", name="Send the message").wait_for()


@pytest.mark.parametrize("name", BROKEN_KEEPS)
async def test_what_a_tab_kept_is_looked_at(
    page: Page, scripted_service: ScriptedService, name: str
) -> None:
    """What is no conversation is forgotten."""
    kept = json.dumps(json.dumps(BROKEN_KEEPS[name]))
    await page.add_init_script(f"sessionStorage.setItem('tokenwire.conversation', {kept})")
    scripted_service.engine.allow(100)
    playground = await Playground(page, scripted_service.url).open()
    await playground.set("Max tokens", "1")
    assert await page.locator(".turn").count() == 0
    await playground.ask("Count")
    await playground.ends()


SLOW = """
window.drawings = [];
export function showMarkdown(place, text) {
  const began = performance.now();
  while (performance.now() < began + 40);
  place.textContent = text;
  window.drawings.push([began, performance.now()]);
}
"""


async def test_what_is_slow_to_draw_leaves_time(
    page: Page, scripted_service: ScriptedService
) -> None:
    """Between two pictures of an answer the page is free for longer than one took."""

    async def slow(route: Route) -> None:
        await route.fulfill(body=SLOW, content_type="text/javascript")

    await page.route("**/drawing/markdown.js", slow)
    playground = await Playground(page, scripted_service.url).open()
    await playground.set("Max tokens", "4")
    await playground.ask("Count")
    for number in range(4):
        scripted_service.engine.allow(1)
        await playground.shows(playground.answer, f"{number}")
    await playground.ends()
    drawings = await page.evaluate("drawings")
    # The first is the empty answer's, when the turns are shown.
    pauses = [later[0] - one[1] for one, later in pairwise(drawings[1:])]
    assert len(pauses) > 1
    assert min(pauses) > 100
