"""Tools, calls and results as chat templates take them."""

from __future__ import annotations

import json
from typing import Any

from ...contract.prompts import ChatMessage
from ...contract.tools import Tool


def spell_tool(tool: Tool) -> dict[str, Any]:
    """Spells a tool as templates take it."""
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": json.loads(tool.parameters_schema),
    }
    return {"type": "function", "function": function}


def spell_calls(message: ChatMessage) -> dict[str, Any]:
    """Spells what a message has beside role and content."""
    spelt: dict[str, Any] = {}
    if message.tool_calls:
        spelt["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        spelt["tool_call_id"] = message.tool_call_id
    return spelt
