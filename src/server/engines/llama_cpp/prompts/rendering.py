"""Prompts as llama.cpp's own endpoints would read them."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import msgspec

from ....contract.errors import InvalidRequest
from ....contract.prompts import (
    ChatMessage,
    ChatPrompt,
    InfillPrompt,
    Prompt,
    RenderedPrompt,
    Role,
    TextPrompt,
    TokenPrompt,
)
from ....contract.token_ids import TokenIds
from ....contract.tools import AnswerForm, Tool
from ....files.formats.gguf_tokens import GgufTokens
from ...answers.chat_features import (
    NO_FEATURES,
    PROBE_TOOL,
    ChatFeatures,
    find_features,
    offered_tools,
)
from ...answers.spelling import spell_calls, spell_tool
from ...caller_texts import check_texts
from ...fim import FIM_MARKERS, FimTokens, find_fim_tokens, infill_ids
from ...literal_text import Render, Tokenize, read_chat, read_text, strings_of
from ...merge_roles import merge_consecutive
from ...prompt_checks import check_not_empty, check_vocabulary, need_fim_tokens
from ...special_text import SpecialTexts, is_control_text
from ..client import LlamaCppClient, Refused
from .image_prompts import ImagePrompts, spell_content


@dataclass(frozen=True, slots=True)
class PromptRenderer:
    """Applies template and tokenizer of one loaded model.

    `begin` is the id that the tokenizer puts before a text, None where it puts none. `features` is
    what the chat template can do. `special` are the tokenizer's control tokens; `reads_special`
    says that those in the text of a conversation are read. `images` is None where the model sees
    none.
    """

    client: LlamaCppClient
    vocab_size: int
    begin: int | None
    fim: FimTokens | None
    features: ChatFeatures = NO_FEATURES
    special: SpecialTexts = field(default_factory=lambda: SpecialTexts({}))
    reads_special: bool = False
    images: ImagePrompts | None = None

    async def render(self, prompt: Prompt) -> RenderedPrompt:
        """Returns the prompt's tokens.

        Raises:
            InvalidRequest: see `Engine.render`.
            Unreachable: the server does not answer.
        """
        form: AnswerForm | None = None
        match prompt:
            case TextPrompt():
                name, ids = "text", await tokenize(self.client, prompt.text)
            case TokenPrompt():
                name, ids = "token_ids", prompt.token_ids
                check_vocabulary(name, ids, self.vocab_size)
            case InfillPrompt():
                name, ids = "suffix", await self._infill(prompt)
            case ChatPrompt():
                name = "messages"
                if prompt.images and self.images is not None:
                    return await self._see(prompt, self.images)
                ids, end = await self._chat(prompt)
                form, ending = self.features.form(prompt, end)
                if ending:
                    more = await tokenize(self.client, ending, add_special=False)
                    ids = TokenIds.of([*ids, *more])
            case _:
                assert_never(prompt)
        check_not_empty(name, ids)
        return RenderedPrompt(ids, form=form)

    async def _infill(self, prompt: InfillPrompt) -> TokenIds:
        fim = need_fim_tokens(self.fim)
        prefix, suffix = [
            await self._tokenize_literally(text) for text in (prompt.prefix, prompt.suffix)
        ]
        return infill_ids(fim, prefix, suffix, self.begin)

    async def _tokenize_literally(self, text: str) -> TokenIds:
        ids = await tokenize(self.client, text, add_special=False, parse_special=False)
        if not self.special.count_ids(ids):
            return ids
        # Tokens that the file calls "user defined" are read all the same.
        read, _ = await self._follow(read_text(self.special, text))
        return TokenIds.of(read or ())

    async def _see(self, prompt: ChatPrompt, images: ImagePrompts) -> RenderedPrompt:
        if not self.reads_special:
            check_texts(prompt, self.special)
        arguments = self.features.template_arguments(prompt)
        tools = offered_tools(prompt)
        for messages in (prompt.messages, merge_consecutive(prompt.messages)):
            body = template_body(messages, arguments, tools)
            text = await apply_template(self.client, body)
            if text is not None:
                form, ending = self.features.form(prompt, text)
                seen = await images.render(text, ending, messages, prompt, body)
                return replace(seen, form=form)
        await self._chat(prompt)  # says what the template refuses
        raise InvalidRequest("messages", "the model's chat template refuses them beside an image")

    async def _chat(self, prompt: ChatPrompt) -> tuple[TokenIds, str]:
        """Returns a conversation's tokens, and the text that the template ends it with."""
        arguments = self.features.template_arguments(prompt)
        tools, continues = offered_tools(prompt), prompt.continue_last_message
        read = await self._read_chat(template_body(prompt.messages, arguments, tools), continues)
        if read is not None:
            return read
        merged = merge_consecutive(prompt.messages)
        read = await self._read_chat(template_body(merged, arguments, tools), continues)
        if read is not None:
            return read
        own = self.features.template_arguments(
            msgspec.structs.replace(prompt, template_arguments={})
        )
        body = template_body(merged, own, tools)
        if arguments != own and await apply_template(self.client, body) is not None:
            raise InvalidRequest("template_arguments", "the model's chat template refuses them")
        raise InvalidRequest(
            "messages", "the model's chat template refuses this order or kind of roles"
        )

    async def _read_chat(
        self, body: dict[str, Any], continues: bool
    ) -> tuple[TokenIds, str] | None:
        is_literal = not self.reads_special and self.special.occur_in(strings_of(body))
        if is_literal or continues:
            steps = read_chat(self.special, body, continues=continues, is_literal=is_literal)
            ids, text = await self._follow(steps)
            # What a continued message ends with is the caller's word, and no mark of a template.
            return None if ids is None else (TokenIds.of(ids), "" if continues else text)
        rendered = await apply_template(self.client, body)
        return None if rendered is None else (await tokenize(self.client, rendered), rendered)

    async def _follow(
        self, steps: Generator[Render | Tokenize, Any, list[int] | None]
    ) -> tuple[list[int] | None, str]:
        """Does what the steps of a literal text ask for; returns the last text rendered, too."""
        done: str | list[int] | None = None
        rendered = ""
        while True:  # ends with the steps, of which there are a few
            try:
                step = steps.send(done)
            except StopIteration as end:
                ids: list[int] | None = end.value
                return ids, rendered
            match step:
                case Render(body):
                    done = await apply_template(self.client, body)
                    rendered = done or rendered
                case Tokenize(text, is_prompt):
                    done = list(await tokenize(self.client, text, add_special=is_prompt))


async def apply_template(client: LlamaCppClient, body: Mapping[str, object]) -> str | None:
    """Renders a conversation, None where the template refuses it.

    Raises:
        Unreachable: the server does not answer.
    """
    try:
        answer = await client.post("/apply-template", body)
    except Refused:
        return None
    prompt: str = answer["prompt"]
    return prompt


def template_body(
    messages: tuple[ChatMessage, ...],
    arguments: Mapping[str, object],
    tools: tuple[Tool, ...] = (),
) -> dict[str, Any]:
    """Spells a conversation for the template."""
    body: dict[str, Any] = {
        "messages": [
            {"role": message.role.value, "content": spell_content(message), **spell_calls(message)}
            for message in messages
        ],
        "chat_template_kwargs": dict(arguments),
    }
    if tools:
        body["tools"] = [spell_tool(tool) for tool in tools]
        # The template prints them all the same, and llama.cpp makes no grammar of their schemas,
        # for which it would refuse what it does not know, such as a reference to the whole.
        body["tool_choice"] = "none"
    return body


async def discover_features(
    client: LlamaCppClient, tool_parser: str, reasoning_parser: str
) -> ChatFeatures:
    """Finds what the loaded model's chat template can do; see `find_features`.

    Raises:
        Unreachable: the server does not answer.
    """
    template: str = (await client.get("/props")).get("chat_template", "")
    hello = (ChatMessage(Role.USER, "Hello"),)
    probed = await apply_template(client, template_body(hello, {}, (PROBE_TOOL,)))
    return find_features(
        template,
        takes_tools=probed is not None and PROBE_TOOL.name in probed,
        tool_parser=tool_parser,
        reasoning_parser=reasoning_parser,
    )


async def tokenize(
    client: LlamaCppClient, text: str, *, add_special: bool = True, parse_special: bool = True
) -> TokenIds:
    """Returns the tokens of a text; by default as llama.cpp's completion endpoints do.

    Raises:
        Unreachable: the server does not answer.
    """
    answer = await client.post(
        "/tokenize", {"content": text, "add_special": add_special, "parse_special": parse_special}
    )
    return TokenIds.of(answer["tokens"])


async def discover_fim_tokens(client: LlamaCppClient) -> FimTokens | None:
    """Finds the model's fill-in-the-middle tokens, None where it has none.

    Raises:
        Unreachable: the server does not answer.
    """
    answer = await client.post(
        "/tokenize",
        {
            "content": "".join(name for names in FIM_MARKERS for name in names),
            "add_special": False,
            "parse_special": True,
            "with_pieces": True,
        },
    )
    ids = {token["piece"]: token["id"] for token in answer["tokens"] if _is_text(token)}
    return find_fim_tokens(ids.get)


def find_special_texts(vocabulary: GgufTokens, chat_template: str) -> SpecialTexts:
    """Picks the control tokens of a file; `chat_template` is used instead of its own, if any."""
    template = chat_template or vocabulary.chat_template
    tokens = vocabulary.tokens
    return SpecialTexts(
        {
            token.text: token.token_id
            for token in tokens
            if is_control_text(token.text, is_special=token.is_control, template=template)
        },
        unknown=[token.token_id for token in tokens if token.is_unknown],
    )


def _is_text(token: Mapping[str, object]) -> bool:
    # A part of a character comes as a list of bytes.
    return isinstance(token["piece"], str)
