"""Prompts as llama.cpp's own endpoints would read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from ...contract.engine import (
    ChatMessage,
    ChatPrompt,
    InfillPrompt,
    Prompt,
    RenderedPrompt,
    TextPrompt,
    TokenPrompt,
)
from ...contract.errors import InvalidRequest
from ...contract.token_ids import TokenIds
from ..fim import FIM_MARKERS, FimTokens, find_fim_tokens, infill_ids
from ..merge_roles import merge_consecutive
from ..prompt_checks import check_not_empty, check_vocabulary, need_fim_tokens
from .client import LlamaCppClient, Refused


@dataclass(frozen=True, slots=True)
class PromptRenderer:
    """Applies template and tokenizer of one loaded model.

    `begin` is the id that the tokenizer puts before a text, None where it puts none.
    """

    client: LlamaCppClient
    vocab_size: int
    begin: int | None
    fim: FimTokens | None

    async def render(self, prompt: Prompt) -> RenderedPrompt:
        """Returns the prompt's tokens.

        Raises:
            InvalidRequest: see `Engine.render`.
            Unreachable: the server does not answer.
        """
        match prompt:
            case TextPrompt():
                field, ids = "text", await tokenize(self.client, prompt.text)
            case TokenPrompt():
                field, ids = "token_ids", prompt.token_ids
                check_vocabulary(field, ids, self.vocab_size)
            case InfillPrompt():
                field, ids = "suffix", await self._infill(prompt)
            case ChatPrompt():
                field, ids = "messages", await tokenize(self.client, await self._chat(prompt))
            case _:
                assert_never(prompt)
        check_not_empty(field, ids)
        return RenderedPrompt(ids)

    async def _infill(self, prompt: InfillPrompt) -> TokenIds:
        fim = need_fim_tokens(self.fim)
        prefix, suffix = [
            await tokenize(self.client, text, add_special=False, parse_special=False)
            for text in (prompt.prefix, prompt.suffix)
        ]
        return infill_ids(fim, prefix, suffix, self.begin)

    async def _chat(self, prompt: ChatPrompt) -> str:
        text = await self._apply_template(prompt.messages, prompt.template_arguments)
        if text is not None:
            return text
        merged = merge_consecutive(prompt.messages)
        text = await self._apply_template(merged, prompt.template_arguments)
        if text is not None:
            return text
        if prompt.template_arguments and await self._apply_template(merged, {}) is not None:
            raise InvalidRequest("template_arguments", "the model's chat template refuses them")
        raise InvalidRequest(
            "messages", "the model's chat template refuses this order or kind of roles"
        )

    async def _apply_template(
        self, messages: tuple[ChatMessage, ...], arguments: Mapping[str, object]
    ) -> str | None:
        body = {
            "messages": [
                {"role": message.role.value, "content": message.content} for message in messages
            ],
            "chat_template_kwargs": dict(arguments),
        }
        try:
            answer = await self.client.post("/apply-template", body)
        except Refused:
            return None
        prompt: str = answer["prompt"]
        return prompt


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
