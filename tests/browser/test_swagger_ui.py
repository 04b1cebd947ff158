"""What a person finds and does on the interactive page of the OpenAPI document."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..server.key_files import write_keys
from .services import ScriptedService, Service, scripted_services
from .swagger_page import authorize, open_operation

if TYPE_CHECKING:
    from playwright.async_api import Page

CHAT_STREAM = "/api/chat/stream"


def expect(locator: Any) -> Any:
    """Playwright's own waiting assertions."""
    from playwright.async_api import expect as waiting

    waiting.set_options(timeout=30_000)
    return waiting(locator)


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


async def test_a_stream_is_shown_as_it_comes(
    page: Page, scripted_service: ScriptedService, screenshots: Path
) -> None:
    """Each event is there before the next one is made."""
    operation = await open_operation(page, scripted_service.url, CHAT_STREAM)
    await operation.try_out(max_tokens=3)
    await operation.execute()
    scripted_service.engine.allow(1)
    await expect(operation.text).to_have_text("0 ")
    await expect(operation.state).to_have_text("1 event, the stream is open")
    scripted_service.engine.allow(1)
    await expect(operation.text).to_have_text("0 1 ")
    await expect(operation.state).to_have_text("2 events, the stream is open")
    await page.screenshot(path=screenshots / "swagger-ui-stream.png", full_page=True)
    scripted_service.engine.allow(1)
    await expect(operation.state).to_have_text("4 events, the stream has ended")
    await expect(operation.text).to_have_text("0 1 2 ")
    await expect(operation.events).to_contain_text('data: {"done":true,"finish_reason":"length"')
    assert await operation.status() == "200"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/api/completions/stream", {"max_tokens": 2}),
        ("/api/completions", {"max_tokens": 2, "stream": True}),
        (
            "/tokenwire/v1/generate",
            {"delivery": "DELIVERY_DELTAS", "sampling": {"maxTokens": 2}},
        ),
        ("/tokenwire/v1/chat", {"sampling": {"maxTokens": 2}}),
    ],
)
async def test_the_text_of_every_dialect_is_joined(
    page: Page, scripted_service: ScriptedService, path: str, fields: dict[str, Any]
) -> None:
    """Whatever its events look like, the answer can be read in one piece."""
    scripted_service.engine.allow(2)
    operation = await open_operation(page, scripted_service.url, path)
    await operation.try_out(**fields)
    await operation.execute()
    await expect(operation.state).to_contain_text("the stream has ended")
    await expect(operation.text).to_have_text("0 1 ")


async def test_clear_ends_a_stream(page: Page, scripted_service: ScriptedService) -> None:
    """Whoever clears the answer frees the slot, and the page stays clear."""
    operation = await open_operation(page, scripted_service.url, CHAT_STREAM)
    await operation.try_out(max_tokens=3)
    await operation.execute()
    scripted_service.engine.allow(1)
    await expect(operation.text).to_have_text("0 ")
    await operation.clear()
    await scripted_service.engine.wait_until(running=0, aborted=1)
    await expect(operation.answer).to_have_count(0)
    await operation.execute()
    scripted_service.engine.allow(3)
    await expect(operation.text).to_have_text("0 1 2 ")


async def test_executing_again_ends_the_stream_before(
    page: Page, scripted_service: ScriptedService
) -> None:
    """Two streams never write into one place."""
    operation = await open_operation(page, scripted_service.url, CHAT_STREAM)
    await operation.try_out(max_tokens=2)
    await operation.execute()
    scripted_service.engine.allow(1)
    await expect(operation.text).to_have_text("0 ")
    await operation.execute()
    await scripted_service.engine.wait_until(running=1, aborted=1)
    scripted_service.engine.allow(2)
    await expect(operation.state).to_have_text("3 events, the stream has ended")
    await expect(operation.text).to_have_text("0 1 ")


async def test_a_connection_that_breaks_keeps_what_came(
    page: Page, scripted_service: ScriptedService
) -> None:
    """The page says that the end is missing."""
    operation = await open_operation(page, scripted_service.url, CHAT_STREAM)
    await operation.try_out(max_tokens=3)
    await operation.execute()
    scripted_service.engine.allow(1)
    await expect(operation.text).to_have_text("0 ")
    for connection in scripted_service.edge._runner.server.connections:
        connection.transport.abort()
    await expect(operation.state).to_have_text("1 event, the connection broke")
    await expect(operation.text).to_have_text("0 ")


async def test_a_refusal_is_shown_with_its_body(
    page: Page, scripted_service: ScriptedService
) -> None:
    """A stream route that refuses shows the error, which names the field."""
    operation = await open_operation(page, scripted_service.url, CHAT_STREAM)
    await operation.try_out(max_tokens="many")
    await operation.execute()
    assert await operation.status() == "400"
    await expect(operation.answer).to_contain_text("max_tokens")


async def test_unary_and_streamed_answers_of_the_real_model(page: Page, service: Service) -> None:
    """The examples run as they stand, on whatever model is served."""
    operation = await open_operation(page, service.url, "/api/chat")
    await operation.try_out(max_tokens=4)
    await operation.execute()
    assert await operation.status() == "200"
    await expect(operation.answer).to_contain_text('"role": "assistant"')
    operation = await open_operation(page, service.url, CHAT_STREAM)
    await operation.try_out(max_tokens=8)
    await operation.execute()
    await expect(operation.state).to_have_text(re.compile("the stream has ended$"))
    await expect(operation.text).not_to_be_empty()


@pytest.mark.parametrize("scheme", ["bearer", "apiKey"])
async def test_keys_are_given_by_the_button(page: Page, tmp_path: Path, scheme: str) -> None:
    """Without a key calls answer 401; with one they run, and the examples name a served model."""
    path = tmp_path / "keys.toml"
    key = write_keys(path, alice="")["alice"]
    async with scripted_services(front={"LLM_API_KEYS_FILE": str(path)}) as running:
        running.engine.allow(100)
        operation = await open_operation(page, running.url, "/api/chat")
        await operation.try_out(max_tokens=2)
        await operation.execute()
        assert await operation.status() == "401"
        await operation.clear()
        await authorize(page, scheme, key)
        await expect(operation.editor).to_have_value(re.compile("test/scripted"))
        await operation.execute()
        assert await operation.status() == "200"
        operation = await open_operation(page, running.url, CHAT_STREAM)
        await operation.try_out(max_tokens=2)
        await operation.execute()
        await expect(operation.text).to_have_text("0 1 ")


async def test_dark_follows_the_system(page: Page, scripted_service: ScriptedService) -> None:
    """The page is dark where the system is, and light again with it."""
    await page.emulate_media(color_scheme="dark")
    await page.goto(f"{scripted_service.url}/swagger-ui")
    await page.locator("#operations-api-apiChatStream").wait_for()
    colour = "getComputedStyle(document.documentElement).backgroundColor"
    dark = await page.evaluate(colour)
    await page.emulate_media(color_scheme="light")
    await page.locator("html:not(.dark-mode)").wait_for(state="attached")
    light = await page.evaluate(colour)
    assert dark != light
    red = int(dark.removeprefix("rgb(").split(",")[0])
    assert red < 64
