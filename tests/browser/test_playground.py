"""The playground: a conversation, from the first message to its end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tokenwire.server.contract.errors import ModelLoadFailed
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Finished,
    FinishReason,
    Started,
    ToolCallDelta,
)
from tokenwire.server.contract.prompts import ChatPrompt

from .conftest import NewPage
from .playground import Playground, answering, engine
from .services import ScriptedService, Service, scripted_services

if TYPE_CHECKING:
    from playwright.async_api import Page


async def test_an_answer_comes_as_it_is_generated(
    page: Page, scripted_service: ScriptedService
) -> None:
    """Text, numbers and plots grow with each token, and the server's numbers end them."""
    playground = await Playground(page, scripted_service.url).open()
    await playground.set("Max tokens", "8")
    await playground.ask("Count")
    await playground.shows(playground.answer, "Waiting for the first token")
    scripted_service.engine.allow(3)
    await playground.shows(playground.answer, "0 1 2")
    assert "3" not in await playground.answer.locator(".prose").last.inner_text()
    scripted_service.engine.allow(5)
    await playground.ends()
    await playground.shows(playground.answer.locator(".prose").last, "0 1 2 3 4 5 6 7")
    figures = await playground.answer.locator(".figures").inner_text()
    for name in ("TTFT", "Speed", "8 tokens", "Prompt", "Cached", "Queue\nnone"):
        assert name in figures, figures
    assert await playground.answer.get_by_role("img").count() == 2
    await playground.shows(playground.answer, "Cut off at the limit of 8 tokens.")


async def test_stop_frees_the_engine(page: Page, scripted_service: ScriptedService) -> None:
    """The button cancels the call; what had come stays, and the next message is answered."""
    playground = await Playground(page, scripted_service.url).open()
    engine_ = scripted_service.engine
    await playground.ask("Count")
    engine_.allow(2)
    await playground.shows(playground.answer, "0 1")
    await page.get_by_role("button", name="Stop the answer").click()
    await engine_.wait_until(running=0, aborted=1)
    await playground.shows(playground.answer, "Stopped.")
    assert "0 1" in await playground.answer.inner_text()
    await playground.set("Max tokens", "1")
    engine_.allow(2)  # the first one may have gone to the request that was stopped
    await playground.ask("Again")
    await playground.ends()


async def test_escape_stops_before_the_first_token(
    page: Page, scripted_service: ScriptedService
) -> None:
    """Also while the engine has said nothing yet."""
    playground = await Playground(page, scripted_service.url).open()
    await playground.ask("Count")
    await scripted_service.engine.wait_until(running=1)
    await page.keyboard.press("Escape")
    await scripted_service.engine.wait_until(running=0, aborted=1)
    await playground.ends("stopped")


async def test_a_reload_in_the_middle_keeps_what_had_come(
    page: Page, scripted_service: ScriptedService
) -> None:
    """The answer is there, marked as interrupted; the engine is free, and it can be made anew."""
    playground = await Playground(page, scripted_service.url).open()
    await playground.set("Max tokens", "4")
    await playground.ask("Count")
    scripted_service.engine.allow(2)
    await playground.shows(playground.answer, "0 1")
    await page.reload()
    await playground.shows(playground.answer, "Interrupted")
    text = await playground.answer.inner_text()
    assert "0 1" in text
    assert await page.get_by_text("Count", exact=True).is_visible()
    await scripted_service.engine.wait_until(running=0, aborted=1)
    scripted_service.engine.allow(8)
    await page.get_by_role("button", name="Answer again").click()
    await playground.ends()
    await page.reload()
    await playground.shows(playground.answer, "0 1 2 3")


async def test_the_place_in_the_queue_is_shown(new_page: NewPage) -> None:
    """While all slots are taken, and beside the answer when it came."""
    variables = {"LLM_MAX_CONCURRENT_REQUESTS": "1"}
    async with scripted_services(engine(), front=variables) as service:
        first = await Playground(await new_page(), service.url).open()
        await first.set("Max tokens", "3")
        await first.ask("Count")
        await service.engine.wait_until(running=1)
        second = await Playground(await new_page(), service.url).open()
        await second.set("Max tokens", "1")
        await second.ask("Me too")
        await second.shows(second.answer, "In the queue: place 1")
        service.engine.allow(10)
        await second.ends()
        await second.shows(second.answer.locator(".figures"), "place 1, ")


async def test_another_model_can_be_chosen(page: Page) -> None:
    """The menu tells where each model stands; the next message goes to the chosen one."""
    models = {"LLM_ALLOWED_MODELS": "test/one,test/two"}
    one, two = engine(answering("I am one.")), engine(answering("I am two."))
    one.allow(9)
    two.allow(9)
    async with scripted_services(one, two, front=models) as service:
        playground = await Playground(page, service.url).open()
        await page.locator("#picker").click()
        await playground.shows(page.locator("#models .model"), "two")
        await page.locator("#models .model", has_text="two").click()
        await page.locator("#models").wait_for(state="hidden")
        await playground.shows(page.locator("#picker .name"), "two")
        await playground.ask("Who?")
        await playground.ends()
        answered = (await playground.answer.get_attribute("aria-label")) or ""
        assert answered == "Answer of test/two"
        await page.reload()
        await playground.shows(page.locator("#picker .name"), "two")
        await page.locator("#picker").press("Enter")
        await page.get_by_role("radio", name="two").and_(page.locator(":focus")).wait_for()
        await page.keyboard.press("ArrowUp")
        await playground.shows(page.locator("#picker .name"), "one")
        await page.keyboard.press("Enter")
        await page.locator("#models").wait_for(state="hidden")
        assert await page.locator("#picker").evaluate("node => node === document.activeElement")


async def test_a_model_that_failed_says_why(page: Page) -> None:
    """In the menu, beside its state; a message to it shows the refusal."""
    models = {"LLM_ALLOWED_MODELS": "test/one,test/two"}
    async with scripted_services(
        engine(), ModelLoadFailed("the weights are broken"), front=models
    ) as service:
        playground = await Playground(page, service.url).open()
        await page.locator("#picker").click()
        await playground.shows(page.locator("#models .model"), "the weights are broken")
        await page.locator("#models .model", has_text="failed").click()
        await playground.ask("Hi")
        await playground.ends("failed")
        await playground.shows(playground.answer.locator(".failure"), "MODEL_LOAD_FAILED")


async def test_a_refusal_says_when_to_try_again(new_page: NewPage) -> None:
    """Reason, request id, and a button that counts down to the time that the service named."""
    variables = {"LLM_MAX_CONCURRENT_REQUESTS": "1", "LLM_MAX_QUEUED_REQUESTS": "0"}
    async with scripted_services(engine(), front=variables) as service:
        first = await Playground(await new_page(), service.url).open()
        await first.ask("Count")
        await service.engine.wait_until(running=1)
        second = await Playground(await new_page(), service.url).open()
        await second.ask("Me too")
        await second.ends("failed")
        failure = second.answer.locator(".failure")
        await second.shows(failure, "AT_CAPACITY")
        button = failure.get_by_role("button")
        assert "Try again in" in await button.inner_text()
        assert await button.is_disabled()
        await first.page.keyboard.press("Escape")
        service.engine.allow(1000)
        await button.and_(second.page.locator(":enabled")).click()
        await second.ends()


async def test_an_engine_that_dies_is_told(page: Page) -> None:
    """A stream that breaks off keeps what came, with the reason below it."""
    async with scripted_services(front={"LLM_CRASH_CONTINUATION": "false"}) as service:
        playground = await Playground(page, service.url).open()
        await playground.ask("Count")
        service.engine.allow(2)
        await playground.shows(playground.answer, "0 1")
        service.engine.die()
        await playground.ends("failed")
        assert "0 1" in await playground.answer.inner_text()


async def test_thinking_is_folded(page: Page) -> None:
    """It stands above the answer, closed, and opens."""
    script = answering("Forty-two.", thinking="six times seven")
    async with scripted_services(engine(script, reasoning=True)) as service:
        service.engine.allow(100)
        playground = await Playground(page, service.url).open()
        await playground.ask("What is it?")
        await playground.ends()
        thought = playground.answer.get_by_text("six times seven")
        assert not await thought.is_visible()
        await playground.answer.get_by_text("Thinking, 3 tokens").click()
        await thought.wait_for()
        assert await playground.answer.get_by_text("Forty-two.").is_visible()


async def test_a_tool_call_is_shown_and_answered(page: Page) -> None:
    """Its arguments are set out; the result that a person types goes back to the model."""
    script = [
        Started(0),
        ToolCallDelta(0, "call_1", "weather", "", 1),
        ToolCallDelta(0, "", "", '{"city":"Oslo","days":3}', 3),
        ChoiceFinished(FinishReason.TOOL_CALLS),
        Finished(4, 0),
    ]
    tools = [{"name": "weather", "parameters": {"type": "object", "properties": {}}}]
    async with scripted_services(engine(script, tools=True)) as service:
        service.engine.allow(100)
        playground = await Playground(page, service.url).open()
        await playground.set("Tools, as JSON", json.dumps(tools))
        await playground.ask("Weather?")
        await playground.ends()
        call = playground.answer.get_by_label("Call of weather", exact=True)
        assert '"city": "Oslo",\n  "days": 3' in await call.inner_text()
        await call.get_by_label("Result of weather").fill('{"sun": true}')
        service.engine.script = answering("Sunny.")
        await playground.answer.get_by_role("button", name="Send the result").click()
        await playground.shows(playground.answer, "Sunny.")
        await playground.ends()
    prompt = service.engine.prompts[-1]
    assert isinstance(prompt, ChatPrompt)
    assert [(m.role.value, m.content) for m in prompt.messages][-1] == ("tool", '{"sun": true}')
    assert [tool.name for tool in prompt.tools] == ["weather"]


async def test_settings_reach_the_engine(page: Page, scripted_service: ScriptedService) -> None:
    """Each as it was typed; one that cannot be sent is told at its field."""
    playground = await Playground(page, scripted_service.url).open()
    scripted_service.engine.allow(100)
    await playground.set("System prompt", "Be brief.")
    await playground.set("Temperature", "0.25")
    await playground.set("Top p", "0.5")
    await playground.set("Max tokens", "3")
    await playground.set("Stop strings", "7 \n\\n\\n")
    await playground.set("Seed", "no number")
    await playground.ask("Count")
    seed = page.get_by_label("Seed", exact=True)
    assert "whole number" in await seed.evaluate("node => node.validationMessage")
    assert await playground.answers.count() == 0
    await playground.set("Seed", "77")
    await playground.message.press("Enter")
    await playground.ends()
    params = scripted_service.engine.requests[-1].params
    assert (params.temperature, params.top_p, params.max_tokens) == (0.25, 0.5, 3)
    assert (params.seed, params.stop) == (77, ("7 ", "\n\n"))
    prompt = scripted_service.engine.prompts[-1]
    assert isinstance(prompt, ChatPrompt)
    assert [m.content for m in prompt.messages] == ["Be brief.", "Count"]
    await page.reload()
    assert await page.get_by_label("Temperature", exact=True).input_value() == "0.25"


async def test_json_is_set_out(page: Page, service: Service) -> None:
    """A real model under a JSON Schema: its answer is shown as JSON."""
    playground = await Playground(page, service.url).open()
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    await page.get_by_label("Shape of the answer").select_option("json_schema")
    await playground.set("The shape itself", json.dumps(schema))
    await playground.set("Temperature", "0")
    await playground.ask("Is water wet?")
    await playground.ends()
    shown = await playground.answer.locator("pre.json").inner_text()
    assert shown in ('{\n  "ok": true\n}', '{\n  "ok": false\n}')


async def test_a_question_is_changed_and_asked_again(
    page: Page, scripted_service: ScriptedService
) -> None:
    """What came after it goes; Escape leaves everything as it was."""
    playground = await Playground(page, scripted_service.url).open()
    scripted_service.engine.allow(100)
    await playground.set("Max tokens", "1")
    await playground.ask("First")
    await playground.ends()
    await playground.ask("Second")
    await playground.ends()
    await playground.message.press("ArrowUp")
    field = page.get_by_role("textbox", name="Edit the message")
    assert await field.input_value() == "Second"
    await field.press("Escape")
    assert await playground.answers.count() == 2
    await page.get_by_role("button", name="Edit the message").first.click()
    await field.fill("Other")
    await field.press("Enter")
    await playground.ends()
    assert await playground.answers.count() == 1
    prompt = scripted_service.engine.prompts[-1]
    assert isinstance(prompt, ChatPrompt)
    assert [message.content for message in prompt.messages] == ["Other"]


async def test_enter_sends_and_shift_enter_does_not(
    page: Page, scripted_service: ScriptedService
) -> None:
    """A message of two lines arrives as two lines."""
    playground = await Playground(page, scripted_service.url).open()
    scripted_service.engine.allow(100)
    await playground.set("Max tokens", "1")
    await playground.message.click()
    await page.keyboard.type("one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("two")
    assert await playground.answers.count() == 0
    await page.keyboard.press("Enter")
    await playground.ends()
    prompt = scripted_service.engine.prompts[-1]
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages[-1].content == "one\ntwo"
    assert await playground.message.input_value() == ""


MARKDOWN = """# Title
<img src="/x" onerror="document.title='pwned'"> and <b>no bold</b> but **bold**
[a link](javascript:alert(1)) ![picture](/x)

- one
  - `inner`
- two

3. three
4. four

> said

```json
{"a": 1}
```
"""


async def test_what_a_model_writes_stays_text(page: Page) -> None:
    """Markdown is shown; markup, links and pictures are the characters that they are."""
    async with scripted_services(engine(answering(MARKDOWN))) as service:
        service.engine.allow(100)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        playground = await Playground(page, service.url).open()
        await playground.ask("Write")
        await playground.ends()
        prose = playground.answer.locator(".prose").last
        text = await prose.inner_text()
        assert "<img src=" in text
        assert "<b>no bold</b>" in text
        assert "[a link](javascript:alert(1)) ![picture](/x)" in text
        tags: list[str] = await prose.evaluate(
            "node => [...new Set([...node.querySelectorAll('*')].map(e => e.localName))].sort()"
        )
        assert tags == [
            *("blockquote", "code", "h3", "li", "ol", "p", "pre", "span", "strong", "ul"),
        ]
        assert await prose.locator("ul ul code").inner_text() == "inner"
        assert await prose.locator("ol").get_attribute("start") == "3"
        assert await page.title() != "pwned"
    assert not [url for url in asked if url.endswith("/x")]


async def test_a_screen_reader_is_told_by_the_paragraph(page: Page) -> None:
    """The live region gets whole paragraphs, the end, and nothing by the token."""
    async with scripted_services(engine(answering("One two.\n\nThree ten.\n"))) as service:
        playground = await Playground(page, service.url).open()
        told = page.locator("#announcer")
        assert await told.get_attribute("aria-live") == "polite"
        await playground.ask("Count")
        await playground.shows(told, "Waiting for the answer.")
        service.engine.allow(1)
        await playground.shows(playground.answer, "One two.")
        assert "One" not in await told.inner_text()
        service.engine.allow(9)
        await playground.ends()
        await playground.shows(told, "The answer is complete.")
        assert (await told.locator("p").all_inner_texts())[1:3] == ["One two.", "Three ten."]


async def test_a_lost_connection_is_told(page: Page) -> None:
    """A stream that breaks off fails the answer, with a sentence; nothing hangs."""
    async with scripted_services(engine()) as service:
        playground = await Playground(page, service.url).open()
        await playground.ask("Count")
        service.engine.allow(1)
        await playground.shows(playground.answer, "0")
        server = service.edge._runner.server
        assert server is not None
        for connection in server.connections:
            transport = connection.transport
            assert transport is not None
            transport.abort()
        await service.engine.wait_until(running=0, aborted=1)
        await playground.ends("failed")
        await playground.shows(playground.answer.locator(".failure"), "connection")
