"""Answers as models write them, and what they say: the formats of model cards and templates.

Nothing here comes from our own code: a parser that reads all of it reads what these models write.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from tokenwire.server.contract.tools import Tool

WEATHER = Tool(
    "get_weather",
    "Tells the weather",
    json.dumps(
        {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "zip": {"type": "string"},
            },
            "required": ["city"],
        }
    ),
)
CLOCK = Tool("clock.now", "", '{"type": "object", "properties": {}}')
TOOLS = {tool.name: tool for tool in (WEATHER, CLOCK)}

PARIS = '{"city": "Paris"}'
TOKYO = '{"city": "東京 🗼", "days": 3}'


@dataclass(frozen=True)
class Recorded:
    """One answer, with the parsers for it, and its text, thinking and calls."""

    name: str
    answer: str
    tool_parser: str
    reasoning_parser: str = ""
    begins_in_thought: bool = False
    text: str = ""
    thinking: str = ""
    calls: tuple[tuple[str, str], ...] = ()


_TWO = (("get_weather", PARIS), ("get_weather", TOKYO))

RECORDED = [
    Recorded(
        "hermes",
        f'<tool_call>\n{{"name": "get_weather", "arguments": {PARIS}}}\n</tool_call>',
        "hermes",
        calls=_TWO[:1],
    ),
    Recorded(
        "qwen, parallel, behind text",
        "I look both up.\n"
        f'<tool_call>\n{{"name": "get_weather", "arguments": {PARIS}}}\n</tool_call>\n'
        f'<tool_call>\n{{"name": "get_weather", "arguments": {TOKYO}}}\n</tool_call>',
        "hermes",
        text="I look both up.",
        calls=_TWO,
    ),
    Recorded(
        "qwen 3, thinking first",
        "<think>\nThe user wants <tool_call> of Paris.\n</think>\n\n"
        f'<tool_call>\n{{"name": "get_weather", "arguments": {PARIS}}}\n</tool_call>',
        "hermes",
        "think",
        thinking="The user wants <tool_call> of Paris.",
        calls=_TWO[:1],
    ),
    Recorded(
        "qwen 3, the end of the block left out",
        f'<tool_call>\n{{"name": "get_weather", "arguments": {PARIS}}}',
        "hermes",
        calls=_TWO[:1],
    ),
    Recorded(
        "hermes, the mark of its end in a string",
        '<tool_call>{"name": "get_weather", "arguments": {"city": "</tool_call>"}}</tool_call> ok',
        "hermes",
        text="ok",
        calls=(("get_weather", '{"city": "</tool_call>"}'),),
    ),
    Recorded(
        "llama 3, bare object",
        f'{{"name": "get_weather", "parameters": {PARIS}}}',
        "llama3",
        calls=_TWO[:1],
    ),
    Recorded(
        "llama 3, python tag, parallel",
        f'<|python_tag|>{{"name": "get_weather", "parameters": {PARIS}}}; '
        f'{{"name": "get_weather", "parameters": {TOKYO}}}',
        "llama3",
        calls=_TWO,
    ),
    Recorded(
        "mistral, list",
        f'[TOOL_CALLS] [{{"name": "get_weather", "arguments": {PARIS}}}, '
        f'{{"name": "get_weather", "arguments": {TOKYO}, "id": "9Ae3bDc2F"}}]',
        "mistral",
        calls=_TWO,
    ),
    Recorded(
        "mistral, newer",
        f"Sure.[TOOL_CALLS]get_weather[ARGS]{PARIS}[TOOL_CALLS]get_weather[CALL_ID]123456789[ARGS]"
        f"{TOKYO}",
        "mistral",
        text="Sure.",
        calls=_TWO,
    ),
    Recorded(
        "magistral, thinking",
        f"[THINK]Paris?[/THINK][TOOL_CALLS]get_weather[ARGS]{PARIS}",
        "mistral",
        "mistral",
        thinking="Paris?",
        calls=_TWO[:1],
    ),
    Recorded(
        "deepseek v3",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n"
        f"```json\n{PARIS}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>"
        f"get_weather\n```json\n{TOKYO}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "deepseek",
        calls=_TWO,
    ),
    Recorded(
        "deepseek v3.1, within a thought",
        "It is about Paris.</think>I look.\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>"
        f"get_weather<｜tool▁sep｜>{PARIS}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "deepseek",
        "think",
        begins_in_thought=True,
        thinking="It is about Paris.",
        text="I look.",
        calls=_TWO[:1],
    ),
    Recorded(
        "glm 4.5",
        "\n<think>Hm.</think>\nOne moment.\n<tool_call>get_weather\n<arg_key>city</arg_key>\n"
        "<arg_value>Paris</arg_value>\n<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n"
        "<arg_key>zip</arg_key>\n<arg_value>75001</arg_value>\n</tool_call>",
        "glm",
        "think",
        thinking="Hm.",
        text="One moment.",
        calls=(("get_weather", '{"city": "Paris", "days": 3, "zip": "75001"}'),),
    ),
    Recorded(
        "glm 4.7, without lines, without arguments",
        "<tool_call>clock.now</tool_call><tool_call>get_weather<arg_key>city</arg_key>"
        '<arg_value>a "b"\nc</arg_value></tool_call>',
        "glm",
        calls=(("clock.now", "{}"), ("get_weather", '{"city": "a \\"b\\"\\nc"}')),
    ),
    Recorded(
        "qwen 3 coder",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
        "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>",
        "qwen3-coder",
        calls=(("get_weather", '{"city": "Paris", "days": 3}'),),
    ),
    Recorded(
        "gpt-oss",
        "<|channel|>analysis<|message|>Need the weather.<|end|><|start|>assistant<|channel|>"
        f"commentary to=functions.get_weather <|constrain|>json<|message|>{PARIS}<|call|>",
        "gpt-oss",
        "gpt-oss",
        thinking="Need the weather.",
        calls=_TWO[:1],
    ),
    Recorded(
        "gpt-oss, preamble, the last mark ends the turn",
        "<|channel|>commentary<|message|>I look it up.<|end|><|start|>assistant<|channel|>"
        "commentary to=functions.clock.now json<|message|>{}",
        "gpt-oss",
        "gpt-oss",
        text="I look it up.",
        calls=(("clock.now", "{}"),),
    ),
    Recorded(
        "gpt-oss, an answer",
        "<|channel|>analysis<|message|>Easy.<|end|><|start|>assistant<|channel|>final<|message|>"
        "It is 3 < 4.",
        "gpt-oss",
        "gpt-oss",
        thinking="Easy.",
        text="It is 3 < 4.",
    ),
    Recorded(
        "forced",
        f'[{{"name":"get_weather","arguments":{PARIS}}}, '
        f'{{"name": "get_weather", "arguments": {TOKYO}}}]',
        "json",
        calls=_TWO,
    ),
    Recorded(
        "forced, cut within the second",
        f'[{{"name":"get_weather","arguments":{PARIS}}},{{"name":"get_wea',
        "json",
        calls=_TWO[:1],
    ),
    # What is no call is text, to the character.
    Recorded(
        "cut within the arguments",
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Par',
        "hermes",
        text='<tool_call>\n{"name": "get_weather", "arguments": {"city": "Par',
    ),
    Recorded(
        "a tool that does not exist, and one that does",
        '<tool_call>{"name": "rm", "arguments": {}}</tool_call>\n'
        f'<tool_call>{{"name": "get_weather", "arguments": {PARIS}}}</tool_call>',
        "hermes",
        text='<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
        calls=_TWO[:1],
    ),
    Recorded(
        "a number that is no JSON",
        '{"name": "get_weather", "parameters": {"days": NaN}}',
        "llama3",
        text='{"name": "get_weather", "parameters": {"days": NaN}}',
    ),
    Recorded(
        "arguments that are no object",
        '[TOOL_CALLS][{"name": "get_weather", "arguments": [1]}]',
        "mistral",
        text='[TOOL_CALLS][{"name": "get_weather", "arguments": [1]}]',
    ),
    Recorded(
        "JSON as an answer",
        ' {"a": [1, 2]} ',
        "llama3",
        text=' {"a": [1, 2]} ',
    ),
    Recorded(
        "a thought without an end",
        "<think>\nand so on ",
        "hermes",
        "think",
        thinking="and so on ",
    ),
    Recorded(
        "marks of thinking within an answer",
        "Write <think>x</think> before it.",
        "hermes",
        "think",
        text="Write <think>x</think> before it.",
    ),
    Recorded(
        "arguments that are quoted twice",
        '<tool_call>{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}</tool_call>',
        "hermes",
        calls=_TWO[:1],
    ),
    Recorded(
        "numbers keep their digits",
        '<tool_call>{"name": "get_weather", "arguments": {"days": 1.0e2, "zip": '
        "12345678901234567890}}</tool_call>",
        "hermes",
        calls=(("get_weather", '{"days": 1.0e2, "zip": 12345678901234567890}'),),
    ),
]
