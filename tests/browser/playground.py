"""The playground, as a person handles it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tokenwire.server.contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
)

from ..server.scripted_engine import ScriptedEngine

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}


def engine(script: Sequence[EngineEvent] = (), **abilities: Any) -> ScriptedEngine:
    """An engine with a long context whose model has further abilities."""
    made = ScriptedEngine(context_length=4096, script=script)
    able = replace(made.info.capabilities, **abilities)
    made.info = replace(made.info, capabilities=able)
    return made


def answering(text: str, *, thinking: str = "") -> list[EngineEvent]:
    """An answer of a text, a word a token, and what was thought before it."""
    thoughts = [ReasoningDelta(f"{word} ", 1) for word in thinking.split()]
    words = [TextDelta(word, 1) for word in text.splitlines(keepends=True)]
    end = [
        ChoiceFinished(FinishReason.EOS),
        Finished(len(thoughts) + len(words), 0, len(thoughts)),
    ]
    return [Started(0), *thoughts, *words, *end]


class Playground:
    """An open playground; its parts are found as a person or a screen reader names them."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.message = page.get_by_role("textbox", name="Message", exact=True)
        self.answers = page.locator("article.answer")

    @property
    def answer(self) -> Locator:
        """The last answer."""
        return self.answers.last

    async def open(self, state: str = "serving") -> Playground:
        """Opens the page, and waits until the chosen model stands there."""
        await self.page.goto(f"{self.url}/")
        await self.page.locator(f"#picker .dot[data-state={state}]").wait_for()
        return self

    async def ask(self, text: str) -> None:
        """Writes a message and sends it."""
        await self.message.fill(text)
        await self.message.press("Enter")

    async def ends(self, state: str = "done") -> None:
        """Waits until the last answer has ended, and in this state."""
        running = ":is([data-state=waiting], [data-state=streaming])"
        await self.page.locator(f"article.answer:last-child:not({running})").wait_for()
        ended = await self.answer.get_attribute("data-state")
        assert ended == state, await self.answer.inner_text()

    async def shows(self, place: Locator, text: str = "") -> None:
        """Waits until a place is there, with this text in it."""
        await (place.filter(has_text=text) if text else place).wait_for()

    async def set(self, label: str, value: str) -> None:
        """Fills in a setting."""
        await self.page.get_by_label(label, exact=True).fill(value)

    async def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        width: int = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return max(width, 0)  # less where room is kept for a scroll bar
