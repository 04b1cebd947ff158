"""The playground: an answer that was cut off goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwire.server.contract.prompts import ChatPrompt

from .playground import Playground
from .services import ScriptedService

if TYPE_CHECKING:
    from playwright.async_api import Page


async def test_an_answer_at_its_limit_goes_on(
    page: Page, scripted_service: ScriptedService
) -> None:
    """The model gets what there is as its own, and what it adds stands behind it."""
    engine = scripted_service.engine
    playground = await Playground(page, scripted_service.url).open()
    await playground.set("Max tokens", "3")
    engine.allow(3)
    await playground.ask("Count")
    await playground.ends()
    proceed = page.get_by_role("button", name="Continue")
    await proceed.click()
    await engine.wait_until(running=1)
    await playground.shows(playground.answer, "Waiting for the first token")
    await playground.shows(playground.answer.locator(".prose").last, "0 1 2")
    assert await proceed.count() == 0
    engine.allow(3)
    await playground.ends()
    await playground.shows(playground.answer.locator(".prose").last, "0 1 2 0 1 2")
    said = await page.locator("#announcer").inner_text()
    assert said.count("0 1 2") == 1, said  # what was heard before is not read out again
    assert await playground.answers.count() == 1
    prompt = engine.prompts[-1]
    assert isinstance(prompt, ChatPrompt)
    assert prompt.continue_last_message
    assert [message.content for message in prompt.messages] == ["Count", "0 1 2 "]
    engine.allow(3)
    await playground.ask("And then?")
    await playground.ends()
    assert await proceed.count() == 1  # of the last answer alone
    prompt = engine.prompts[-1]
    assert isinstance(prompt, ChatPrompt)
    assert not prompt.continue_last_message
    assert prompt.messages[1].content == "0 1 2 0 1 2 "


async def test_an_answer_that_was_left_goes_on(
    page: Page, scripted_service: ScriptedService
) -> None:
    """After a stop and after a reload; nothing is lost where that is stopped as well."""
    engine = scripted_service.engine
    playground = await Playground(page, scripted_service.url).open()
    await playground.ask("Count")
    engine.allow(2)
    await playground.shows(playground.answer, "0 1")
    await page.reload()
    await playground.shows(playground.answer, "Interrupted")
    await engine.wait_until(running=0, aborted=1)
    await page.get_by_role("button", name="Continue").click()
    await engine.wait_until(running=1, aborted=1)
    await page.keyboard.press("Escape")
    await engine.wait_until(running=0, aborted=2)
    await playground.ends("stopped")
    await playground.shows(playground.answer.locator(".prose").last, "0 1")
    assert await page.get_by_role("button", name="Continue").is_visible()


async def test_a_whole_answer_and_a_shape_do_not_go_on(
    page: Page, scripted_service: ScriptedService
) -> None:
    """Where the shape would be that of what is added, and where the model was done."""
    engine = scripted_service.engine
    engine.allow(100)
    playground = await Playground(page, scripted_service.url).open()
    proceed = page.get_by_role("button", name="Continue")
    await playground.set("Stop strings", "3")
    await playground.ask("Count")
    await playground.ends()
    assert await proceed.count() == 0
    await playground.set("Stop strings", "")
    await playground.set("Max tokens", "2")
    await page.get_by_label("Shape of the answer").select_option("regex")
    await playground.set("The shape itself", ".*")
    await page.get_by_role("button", name="Answer again").click()
    await playground.ends()
    assert await proceed.count() == 0
