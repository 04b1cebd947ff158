"""What a chat template can do, and what is made of a conversation's wishes."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from tokenwire.server.contract.prompts import ChatMessage, ChatPrompt, Role
from tokenwire.server.contract.tools import ToolChoice, ToolMode
from tokenwire.server.engines.answers.chat_features import (
    REASONING_PARSERS,
    TOOL_PARSERS,
    ChatFeatures,
    find_features,
    special_texts,
)
from tokenwire.server.settings.model_settings import ReasoningParser, ToolParser

from .recorded import CLOCK, WEATHER
from .templates import ALWAYS_THINKING, TOOLS_AND_THINKING

HELLO = (ChatMessage(Role.USER, "Hello"),)
QWEN = ChatFeatures("hermes", "think", "enable_thinking")
REQUIRED = ToolChoice(ToolMode.REQUIRED)


def find(template: str, **more: Any) -> ChatFeatures:
    settings = {"takes_tools": True, "tool_parser": "auto", "reasoning_parser": "auto", **more}
    return find_features(template, **settings)


@pytest.mark.parametrize(
    ("template", "features"),
    [
        (TOOLS_AND_THINKING, QWEN),
        (ALWAYS_THINKING, ChatFeatures("", "think")),
        ("{{ messages[0].content }}", ChatFeatures()),
        ("<tool_call> <function=x> <parameter=y> </think> enable_thinking", None),
        ("[TOOL_CALLS] [THINK]", ChatFeatures("mistral", "mistral")),
        ("<|channel|>analysis <|channel|>commentary", ChatFeatures("gpt-oss", "gpt-oss")),
        ("<tool_call> <arg_key>", ChatFeatures("glm")),
        ("<｜tool▁calls▁begin｜> </think> thinking", None),
        ("<|python_tag|>", ChatFeatures("llama3")),
    ],
)
def test_auto_takes_what_the_template_speaks_of(
    template: str, features: ChatFeatures | None
) -> None:
    """A parser is chosen by the marks in the template, and none where there are none."""
    found = find(template)
    if features is not None:
        assert found == features
    else:
        assert found.tool_parser in ("qwen3-coder", "deepseek")
        assert found.reasoning_parser == "think"
        assert found.switch in ("enable_thinking", "thinking")


def test_names_and_none_win() -> None:
    """A parser that is named is taken, and none takes none."""
    assert find("", tool_parser="llama3", reasoning_parser="think") == ChatFeatures(
        "llama3", "think"
    )
    assert find(TOOLS_AND_THINKING, tool_parser="none", reasoning_parser="none") == ChatFeatures()
    # A template that does not print tools has none, whatever reads them.
    assert find("", tool_parser="llama3", takes_tools=False) == ChatFeatures()


def test_variables_name_every_parser() -> None:
    """LLM_TOOL_PARSER and LLM_REASONING_PARSER take what there is, auto and none."""
    assert set(get_args(ToolParser)) == {"auto", "none", *TOOL_PARSERS}
    assert set(get_args(ReasoningParser)) == {"auto", "none", *REASONING_PARSERS}


@pytest.mark.parametrize(
    ("prompt", "arguments"),
    [
        (ChatPrompt(HELLO), {}),
        (ChatPrompt(HELLO, {"x": 1}, thinks=True), {"x": 1, "enable_thinking": True}),
        (ChatPrompt(HELLO, thinks=False), {"enable_thinking": False}),
        (
            ChatPrompt(HELLO, tools=(WEATHER,), tool_choice=REQUIRED, thinks=True),
            {"enable_thinking": False},
        ),
        (ChatPrompt(HELLO, answers_at_once=True), {"enable_thinking": False}),
    ],
)
def test_switch(prompt: ChatPrompt, arguments: dict[str, object]) -> None:
    """Thinking is switched where the request asks for it, and off before a demanded call."""
    assert QWEN.template_arguments(prompt) == arguments


@pytest.mark.parametrize(
    ("features", "rendered_end", "ending"),
    [
        (QWEN, "assistant\n<think>\n", "</think>\n\n"),
        (QWEN, "assistant\n", ""),
        (ChatFeatures("", "gpt-oss"), "<|start|>assistant", "<|channel|>final<|message|>"),
        (ChatFeatures(), "assistant\n", ""),
    ],
)
def test_answers_at_once(features: ChatFeatures, rendered_end: str, ending: str) -> None:
    """The answer begins behind what a template thinks first, and all of it is text."""
    prompt = ChatPrompt(HELLO, answers_at_once=True)
    assert features.form(prompt, rendered_end) == (None, ending)
    # Where it goes on with a message, it has begun.
    goes_on = ChatPrompt(HELLO, answers_at_once=True, continue_last_message=True)
    assert features.form(goes_on, rendered_end) == (None, "")


def test_free_answers() -> None:
    """Tools and thinking are read; a choice of none reads thinking alone."""
    form, ending = QWEN.form(ChatPrompt(HELLO, tools=(WEATHER,)), "assistant\n<think>\n")
    assert form is not None
    assert (form.tools, form.tool_parser, form.reasoning_parser) == ((WEATHER,), "hermes", "think")
    assert (form.begins_in_thought, form.forced_schema, ending) == (True, "", "")
    none = ChatPrompt(HELLO, tools=(WEATHER,), tool_choice=ToolChoice(ToolMode.NONE))
    form, _ = QWEN.form(none, "assistant\n")
    assert form is not None
    assert (form.tools, form.tool_parser, form.begins_in_thought) == ((), "", False)
    assert ChatFeatures("hermes").form(ChatPrompt(HELLO), "assistant\n") == (None, "")


def test_demanded_calls() -> None:
    """The form names the tools that may be called, and a thought that the prompt began is ended."""
    prompt = ChatPrompt(HELLO, tools=(WEATHER, CLOCK), tool_choice=REQUIRED)
    form, ending = QWEN.form(prompt, "<think>\n")
    assert form is not None
    assert (form.tools, form.begins_in_thought, ending) == (
        (WEATHER, CLOCK),
        False,
        "</think>\n\n",
    )
    named = ChatPrompt(
        HELLO, tools=(WEATHER, CLOCK), tool_choice=ToolChoice(ToolMode.REQUIRED, CLOCK.name)
    )
    form, ending = QWEN.form(named, "assistant\n")
    assert form is not None
    assert (form.tools, ending) == ((CLOCK,), "")
    assert json.loads(form.forced_schema)["maxItems"] == 1


def test_marks_stay_in_the_text() -> None:
    """Marks that may be special tokens are kept; without a form there are none."""
    form, _ = QWEN.form(ChatPrompt(HELLO, tools=(WEATHER,)), "")
    assert special_texts(form) == ("<tool_call>", "</tool_call>", "<think>", "</think>")
    assert special_texts(None) == ()
