"""Prompts as llama.cpp's own endpoints would read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

import msgspec

from ...contract.engine import (
    ChatMessage,
    ChatPrompt,
    InfillPrompt,
    Prompt,
    RenderedPrompt,
    Role,
    TextPrompt,
    TokenPrompt,
)
from ...contract.errors import InvalidRequest
from ...contract.token_ids import TokenIds
from ...contract.tools import AnswerForm, Tool
from ..answers.chat_features import (
    NO_FEATURES,
    PROBE_TOOL,
    ChatFeatures,
    find_features,
    offered_tools,
)
from ..answers.spelling import spell_calls, spell_tool
from ..fim import FIM_MARKERS, FimTokens, find_fim_tokens, infill_ids
from ..merge_roles import merge_consecutive
from ..prompt_checks import check_not_empty, check_vocabulary, need_fim_tokens
from .client import LlamaCppClient, Refused


@dataclass(frozen=True, slots=True)
class PromptRenderer:
    """Applies template and tokenizer of one loaded model.

    `begin` is the id that the tokenizer puts before a text, None where it puts none. `features` is
    what the chat template can do.
    """

    client: LlamaCppClient
    vocab_size: int
    begin: int | None
    fim: FimTokens | None
    features: ChatFeatures = NO_FEATURES

    async def render(self, prompt: Prompt) -> RenderedPrompt:
        """Returns the prompt's tokens.

        Raises:
            InvalidRequest: see `Engine.render`.
            Unreachable: the server does not answer.
        """
        form: AnswerForm | None = None
        match prompt:
            case TextPrompt():
                field, ids = "text", await tokenize(self.client, prompt.text)
            case TokenPrompt():
                field, ids = "token_ids", prompt.token_ids
                check_vocabulary(field, ids, self.vocab_size)
            case InfillPrompt():
                field, ids = "suffix", await self._infill(prompt)
            case ChatPrompt():
                text = await self._chat(prompt)
                form, ending = self.features.form(prompt, text)
                field, ids = "messages", await tokenize(self.client, text + ending)
            case _:
                assert_never(prompt)
        check_not_empty(field, ids)
        return RenderedPrompt(ids, form=form)

    async def _infill(self, prompt: InfillPrompt) -> TokenIds:
        fim = need_fim_tokens(self.fim)
        prefix, suffix = [
            await tokenize(self.client, text, add_special=False, parse_special=False)
            for text in (prompt.prefix, prompt.suffix)
        ]
        return infill_ids(fim, prefix, suffix, self.begin)

    async def _chat(self, prompt: ChatPrompt) -> str:
        arguments = self.features.template_arguments(prompt)
        tools = offered_tools(prompt)
        text = await apply_template(self.client, prompt.messages, arguments, tools)
        if text is not None:
            return text
        merged = merge_consecutive(prompt.messages)
        text = await apply_template(self.client, merged, arguments, tools)
        if text is not None:
            return text
        own = self.features.template_arguments(
            msgspec.structs.replace(prompt, template_arguments={})
        )
        if arguments != own and await apply_template(self.client, merged, own, tools) is not None:
            raise InvalidRequest("template_arguments", "the model's chat template refuses them")
        raise InvalidRequest(
            "messages", "the model's chat template refuses this order or kind of roles"
        )


async def apply_template(
    client: LlamaCppClient,
    messages: tuple[ChatMessage, ...],
    arguments: Mapping[str, object],
    tools: tuple[Tool, ...] = (),
) -> str | None:
    """Renders a conversation, None where the template refuses it.

    Raises:
        Unreachable: the server does not answer.
    """
    body: dict[str, object] = {
        "messages": [
            {"role": message.role.value, "content": message.content, **spell_calls(message)}
            for message in messages
        ],
        "chat_template_kwargs": dict(arguments),
    }
    if tools:
        body["tools"] = [spell_tool(tool) for tool in tools]
        # The template prints them all the same, and llama.cpp makes no grammar of their schemas,
        # for which it would refuse what it does not know, such as a reference to the whole.
        body["tool_choice"] = "none"
    try:
        answer = await client.post("/apply-template", body)
    except Refused:
        return None
    prompt: str = answer["prompt"]
    return prompt


async def discover_features(
    client: LlamaCppClient, tool_parser: str, reasoning_parser: str
) -> ChatFeatures:
    """Finds what the loaded model's chat template can do; see `find_features`.

    Raises:
        Unreachable: the server does not answer.
    """
    template: str = (await client.get("/props")).get("chat_template", "")
    hello = (ChatMessage(Role.USER, "Hello"),)
    probed = await apply_template(client, hello, {}, (PROBE_TOOL,))
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


def _is_text(token: Mapping[str, object]) -> bool:
    # A part of a character comes as a list of bytes.
    return isinstance(token["piece"], str)
