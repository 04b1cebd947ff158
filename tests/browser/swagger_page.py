"""The interactive page of the OpenAPI document, as a person handles it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page


@dataclass(frozen=True)
class Operation:
    """One operation of the page, opened."""

    block: Locator

    async def try_out(self, **fields: Any) -> None:
        """Presses "Try it out", and puts these fields into the example of the body."""
        await self.block.get_by_role("button", name="Try it out").click()
        if fields:
            body = await self.body()
            await self.editor.fill(json.dumps({**body, **fields}))

    async def body(self) -> dict[str, Any]:
        """What stands in the editor of the body."""
        found = json.loads(await self.editor.input_value())
        assert isinstance(found, dict)
        return found

    async def execute(self) -> None:
        """Presses "Execute"."""
        await self.block.get_by_role("button", name="Execute").click()

    async def clear(self) -> None:
        """Presses "Clear"."""
        await self.block.get_by_role("button", name="Clear").click()

    async def status(self) -> str:
        """The HTTP status of the answer, once there is one."""
        text = await self.answer.locator(".response-col_status").inner_text()
        return text.split()[0]

    @property
    def editor(self) -> Locator:
        """Where the body is written."""
        return self.block.locator("textarea.body-param__text")

    @property
    def answer(self) -> Locator:
        """What the server answered: a row of its own, under the answers that are documented."""
        return self.block.locator(".live-responses-table tr.response")

    @property
    def state(self) -> Locator:
        """The line that says how the stream stands."""
        return self.block.locator(".stream-state")

    @property
    def text(self) -> Locator:
        """The text of all events together."""
        return self.block.locator(".stream-text")

    @property
    def events(self) -> Locator:
        """The events as they came."""
        return self.block.locator(".stream-events")


async def open_operation(page: Page, url: str, path: str) -> Operation:
    """Opens the operation of a path, on a page of its own or the one that is open."""
    if not page.url.startswith(f"{url}/swagger-ui"):
        await page.goto(f"{url}/swagger-ui")
    place = page.locator(f'.opblock-summary-path[data-path="{path}"]')
    block = page.locator(".opblock", has=place)
    await place.click()
    return Operation(block)


async def authorize(page: Page, scheme: str, key: str) -> None:
    """Gives the page a key."""
    await page.locator(".auth-wrapper .authorize.unlocked").first.click()
    form = page.locator(".auth-container", has_text=f"{scheme} ")
    await form.locator("input").fill(key)
    await form.get_by_role("button", name="Apply credentials").click()
    await page.get_by_role("button", name="Close").last.click()
