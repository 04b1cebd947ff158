"""`tokenwire chat` against a scripted service: what goes where."""

from __future__ import annotations

import asyncio
import io

from rich.console import Console
from tokenwire.client import ReasoningDelta, TextDelta, ToolCallDelta
from tokenwire.commands.answer_view import AnswerView

from .client.answers import CALLED, end, failing, text, thinking, tool_call, whole
from .client.scripted_service import ScriptedService, serving
from .test_cli import Result, tokenwire

ANSWER = whole(
    thinking("so\nmany"),
    text("Hel"),
    text("lo"),
    *tool_call("c1", "weather", '{"city":', '"Oslo"}'),
    end(CALLED),
)


async def ask(tmp_path: object, service: ScriptedService) -> Result:
    async with serving(service) as port:
        return await tokenwire(tmp_path, "chat", "Hi", "--target", f"127.0.0.1:{port}")  # type: ignore[arg-type]


async def test_thinking_and_calls_are_beside_the_answer(tmp_path: object) -> None:
    """Piped, the output is the answer alone; thinking and calls of tools are told beside it."""
    async with asyncio.timeout(60):
        status, out, err = await ask(tmp_path, ScriptedService([], ANSWER))
    assert (status, out) == (0, "Hello\n")
    first, second, called, numbers = err.splitlines()
    assert (first, second) == ("so", "many")
    assert called == 'calls weather {"city":"Oslo"}'
    assert numbers.startswith("2 tokens")


async def test_failure_is_one_line(tmp_path: object) -> None:
    """A call that fails is told with its reason, and is not tried again."""
    service = ScriptedService([], [failing(retry_s=0.001)])
    async with asyncio.timeout(60):
        status, out, err = await ask(tmp_path, service)
    assert (status, out) == (1, "")
    assert err.endswith(": no (UNAVAILABLE, AT_CAPACITY)\n")


def test_terminal_shows_them_in_order() -> None:
    """On a terminal everything stands in the order in which it came."""
    view = AnswerView()
    written = io.StringIO()
    view._out = Console(file=written, force_terminal=True, width=60)
    view._live.console = view._out
    view.show(
        [
            ReasoningDelta("hm"),
            TextDelta("Let me see."),
            ToolCallDelta(0, "c1", "weather"),
            ToolCallDelta(0, arguments="{}"),
        ]
    )
    shown = written.getvalue()
    # The last of each: lines are drawn again while they grow.
    places = [shown.rindex(words) for words in ("hm", "Let me see.", "calls weather {}")]
    assert places == sorted(places)
