"""Whether a model can do what a conversation asks of tools and thinking."""

from __future__ import annotations

from ...contract.engine import ModelInfo
from ...contract.errors import InvalidRequest
from ...contract.prompts import ChatPrompt
from ...contract.tools import ANY_TOOL


def check_tools(prompt: ChatPrompt, model: ModelInfo) -> None:
    """Refuses tools, and a switch of thinking, on a model without them.

    Raises:
        InvalidRequest: names the field and the capability of ListModels.
    """
    can = model.capabilities
    if not can.tools and (field := _find_tool_field(prompt)):
        raise InvalidRequest(field, "needs a model with the capability `tools`")
    # To turn off what a model does not do asks for nothing.
    asks_for_nothing = not prompt.thinks and not can.reasoning
    if prompt.thinks is not None and not can.reasoning_switch and not asks_for_nothing:
        raise InvalidRequest(
            "reasoning.enabled", "needs a model with the capability `reasoning_switch`"
        )


def check_hidden(hides_thinking: bool, model: ModelInfo) -> None:
    """Refuses to hide the thinking of a model whose thinking is not told from its text.

    Raises:
        InvalidRequest: names the field and the capability.
    """
    if hides_thinking and not model.capabilities.reasoning:
        raise InvalidRequest("reasoning.hidden", "needs a model with the capability `reasoning`")


def texts_of(prompt: ChatPrompt) -> list[str]:
    """Lists every text that the template may print, but for template arguments."""
    texts = [message.content for message in prompt.messages]
    for message in prompt.messages:
        for call in message.tool_calls:
            texts += (call.name, call.arguments)
    for tool in prompt.tools:
        texts += (tool.name, tool.description, tool.parameters_schema)
    return texts


def _find_tool_field(prompt: ChatPrompt) -> str:
    if prompt.tools:
        return "tools"
    if prompt.tool_choice != ANY_TOOL:
        return "tool_choice"
    for index, message in enumerate(prompt.messages):
        if message.tool_calls:
            return f"messages[{index}].tool_calls"
        if message.tool_call_id:
            return f"messages[{index}].tool_call_id"
    return ""
