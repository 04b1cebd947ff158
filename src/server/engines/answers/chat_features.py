"""What a model's chat template can do with tools and thinking, and what reads its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...contract.prompts import ChatPrompt
from ...contract.tools import AnswerForm, Tool, ToolMode
from .call_formats import CALL_FORMATS, FORCED
from .forced_schema import forced_schema
from .thinking_formats import THINKING_FORMATS

AUTO: Final = "auto"
"""The parser that the template speaks of, or none."""

NONE: Final = "none"
"""No parser."""

PROBE_TOOL: Final = Tool("lighthouse")
"""A tool whose name a template that takes tools prints."""

TOOL_PARSERS: Final = tuple(name for name in CALL_FORMATS if name != FORCED)
REASONING_PARSERS: Final = tuple(THINKING_FORMATS)

# What templates show the model of how to write a call, the most telling first.
_CALL_SIGNS: Final = (
    ("<parameter=", "qwen3-coder"),
    ("<arg_key>", "glm"),
    ("<tool_call>", "hermes"),
    ("[TOOL_CALLS]", "mistral"),
    ("<｜tool▁calls▁begin｜>", "deepseek"),
    ("<|channel|>commentary", "gpt-oss"),
    ("<|python_tag|>", "llama3"),
    ('"parameters": dictionary of argument name', "llama3"),
)
_THINKING_SIGNS: Final = (
    ("<|channel|>analysis", "gpt-oss"),
    ("<think>", "think"),
    ("</think>", "think"),
    ("[THINK]", "mistral"),
)
_SWITCHES: Final = ("enable_thinking", "thinking")


@dataclass(frozen=True, slots=True)
class ChatFeatures:
    """Tools and thinking of one loaded model.

    `tool_parser` and `reasoning_parser` are empty where it has none. `switch` is the template
    argument that turns thinking on and off, empty where there is none.
    """

    tool_parser: str = ""
    reasoning_parser: str = ""
    switch: str = ""

    def template_arguments(self, prompt: ChatPrompt) -> dict[str, object]:
        """Returns a conversation's arguments, with thinking switched as it asks.

        An answer that must be calls, or one text, has it off: nothing may come before them.
        """
        arguments = dict(prompt.template_arguments)
        is_forced = prompt.answers_at_once or prompt.tool_choice.mode is ToolMode.REQUIRED
        thinks = False if is_forced else prompt.thinks
        if thinks is not None and self.switch:
            arguments[self.switch] = thinks
        return arguments

    def form(self, prompt: ChatPrompt, rendered_end: str) -> tuple[AnswerForm | None, str]:
        """Says how the answer is read, and what the prompt needs at its end.

        `rendered_end` is the end of the rendered prompt: templates end it with their own marks.
        """
        tools = offered_tools(prompt)
        thinking = THINKING_FORMATS.get(self.reasoning_parser)
        is_in_thought = thinking is not None and rendered_end.rstrip().endswith(thinking.begin)
        is_call = bool(tools) and prompt.tool_choice.mode is ToolMode.REQUIRED
        if is_call or prompt.answers_at_once:
            ending = ""
            if thinking is not None and not prompt.continue_last_message:
                ending = f"{thinking.end}\n\n" if is_in_thought else thinking.answer_begin
            if not is_call:
                return None, ending
            name = prompt.tool_choice.name
            callable_tools = tuple(tool for tool in tools if not name or tool.name == name)
            schema = forced_schema(callable_tools, only_one=bool(name))
            return AnswerForm(callable_tools, FORCED, forced_schema=schema), ending
        if not tools and thinking is None:
            return None, ""
        return (
            AnswerForm(
                tools,
                self.tool_parser if tools else "",
                self.reasoning_parser,
                begins_in_thought=is_in_thought,
            ),
            "",
        )


NO_FEATURES: Final = ChatFeatures()
"""Those of a model without a chat template, or with one that knows neither."""


def find_features(
    template: str, *, takes_tools: bool, tool_parser: str, reasoning_parser: str
) -> ChatFeatures:
    """Finds what a template can do.

    `takes_tools`: it prints tools. `tool_parser` and `reasoning_parser` are names, AUTO or NONE:
    AUTO takes what the template itself speaks of, so that no parser takes text for what it is not.
    """
    calls = _choose(tool_parser, template, _CALL_SIGNS) if takes_tools else ""
    thinking = _choose(reasoning_parser, template, _THINKING_SIGNS)
    switches = [name for name in _SWITCHES if name in template] if thinking else []
    return ChatFeatures(calls, thinking, switches[0] if switches else "")


def offered_tools(prompt: ChatPrompt) -> tuple[Tool, ...]:
    """Returns the tools that the model may call."""
    return () if prompt.tool_choice.mode is ToolMode.NONE else prompt.tools


def special_texts(form: AnswerForm | None) -> tuple[str, ...]:
    """Lists what the engine must not leave out of the answer's text, special token or not."""
    if form is None:
        return ()
    calls, thinking = (
        CALL_FORMATS.get(form.tool_parser),
        THINKING_FORMATS.get(form.reasoning_parser),
    )
    return (*(calls.marks if calls else ()), *(thinking.marks if thinking else ()))


def _choose(parser: str, template: str, signs: tuple[tuple[str, str], ...]) -> str:
    if parser == NONE:
        return ""
    if parser != AUTO:
        return parser
    return next((name for sign, name in signs if sign in template), "")
