"""The interactive page of the OpenAPI document, as a person uses it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .services import ScriptedService

if TYPE_CHECKING:
    from playwright.async_api import Page


async def test_every_operation_is_listed(
    page: Page, scripted_service: ScriptedService, screenshots: Path
) -> None:
    """The page shows what the document holds, by itself."""
    await page.goto(f"{scripted_service.url}/swagger-ui")
    await page.locator("#operations-api-apiChatStream").wait_for()
    document = await (await page.request.get(f"{scripted_service.url}/api/openapi.json")).json()
    num_operations = sum(len(item) for item in document["paths"].values())
    assert await page.locator(".opblock").count() == num_operations
    await page.screenshot(path=screenshots / "swagger-ui.png", full_page=True)
