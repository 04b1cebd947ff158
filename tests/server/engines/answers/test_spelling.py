"""Tools, calls and results in the shape that all templates know."""

from __future__ import annotations

from tokenwire.server.contract.prompts import ChatMessage, Role
from tokenwire.server.contract.tools import ToolCall
from tokenwire.server.engines.answers.spelling import spell_calls, spell_tool

from .recorded import WEATHER


def test_spelling() -> None:
    """Templates get tools, calls and results in the shape that all of them know."""
    assert spell_tool(WEATHER)["function"]["parameters"]["required"] == ["city"]
    call = ChatMessage(Role.ASSISTANT, "", (ToolCall("a", "f", "{}"),))
    assert spell_calls(call)["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert spell_calls(ChatMessage(Role.TOOL, "42", tool_call_id="a")) == {"tool_call_id": "a"}
    assert spell_calls(ChatMessage(Role.USER, "Hello")) == {}
