"""Prompts to token ids, with SGLang's own tokenizer and templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....contract.engine import ChatMessage, RenderedPrompt
from ...conversation import merge_consecutive
from ...fim import find_fim_tokens, infill_ids
from ..messages import Refused, RenderChat, Rendered, RenderInfill, RenderText, RenderTokens
from .content_form import ContentForm, find_content_form, spell_message
from .internals import OpenAIServingChat, apply_chat_template

RenderCommand = RenderText | RenderTokens | RenderInfill | RenderChat


class Renderer:
    """Renders prompts. Safe to use from several threads."""

    def __init__(self, engine: Any) -> None:  # SGLang has no types
        manager = engine.tokenizer_manager
        self._tokenizer = manager.tokenizer
        self._vocab_size = int(manager.model_config.vocab_size)
        self._model_name = manager.served_model_name
        self._chat = OpenAIServingChat(manager, engine.template_manager)
        self._content = ContentForm.TEXT
        self._fim = find_fim_tokens(self._tokenizer.get_vocab().get)
        # What the tokenizer itself puts before a text.
        before = list(self._tokenizer.encode(""))
        self._begin = before[0] if before and before[0] == self._tokenizer.bos_token_id else None
        self.has_chat = bool(
            engine.template_manager.chat_template_name
            or getattr(self._tokenizer, "chat_template", None)
            or getattr(self._chat, "chat_encoding_spec", None)
        )
        if self.has_chat:
            self._content = find_content_form(self._render_probe)

    @property
    def has_fim(self) -> bool:
        """Whether the tokenizer has the tokens to fill in the middle."""
        return self._fim is not None

    @property
    def any_token_id(self) -> int:
        """An id that stands for nothing much, for the first request."""
        bos, eos = self._tokenizer.bos_token_id, self._tokenizer.eos_token_id
        return int(bos if bos is not None else eos or 0)

    def render(self, command: RenderCommand) -> Rendered | Refused:
        """Renders one prompt. Every id of the answer is within the vocabulary."""
        match command:
            case RenderText():
                ids = self._tokenizer.encode(command.text)
                return self._checked(command.query_id, "text", ids)
            case RenderTokens():
                return self._checked(command.query_id, "token_ids", command.token_ids)
            case RenderInfill():
                return self._render_infill(command)
            case RenderChat():
                return self._render_chat(command)

    def _render_infill(self, command: RenderInfill) -> Rendered | Refused:
        if self._fim is None:
            return Refused(
                command.query_id, "suffix", "the model has no tokens to fill in the middle with"
            )
        before, after = (
            self._tokenizer.encode(text, add_special_tokens=False)
            for text in (command.prefix, command.suffix)
        )
        ids = infill_ids(self._fim, before, after, self._begin)
        return self._checked(command.query_id, "text", ids)

    def _render_chat(self, command: RenderChat) -> Rendered | Refused:
        if not self.has_chat:
            return Refused(command.query_id, "messages", "the model has no chat template")
        prompt = command.prompt
        try:
            ids, stop = self._apply_template(prompt.messages, prompt.template_arguments)
        except ValueError as error:
            merged = merge_consecutive(prompt.messages)
            if merged == prompt.messages:
                return _refused_by_template(command.query_id, error)
            try:
                ids, stop = self._apply_template(merged, prompt.template_arguments)
            except ValueError as error_of_merged:
                return _refused_by_template(command.query_id, error_of_merged)
        return self._checked(command.query_id, "messages", ids, stop)

    def _render_probe(self, messages: Sequence[Mapping[str, Any]]) -> str:
        ids, _ = apply_chat_template(self._chat, list(messages), self._model_name, {})
        return str(self._tokenizer.decode(ids))

    def _apply_template(
        self, messages: Sequence[ChatMessage], arguments: Mapping[str, object]
    ) -> tuple[list[int], tuple[str, ...]]:
        return apply_chat_template(
            self._chat,
            [spell_message(message, self._content) for message in messages],
            self._model_name,
            dict(arguments),
        )

    def _checked(
        self, query_id: int, field: str, ids: Sequence[int], stop: tuple[str, ...] = ()
    ) -> Rendered | Refused:
        """Lets nothing through that the scheduler does not survive: no ids, or unknown ones."""
        if not ids:
            return Refused(query_id, field, "has no tokens")
        for position, token_id in enumerate(ids):
            if not 0 <= token_id < self._vocab_size:
                return Refused(
                    query_id,
                    field,
                    f"token id {token_id} at position {position} is not in the vocabulary of "
                    f"{self._vocab_size} tokens",
                )
        return Rendered(query_id, RenderedPrompt(tuple(ids), stop))


def _refused_by_template(query_id: int, error: ValueError) -> Refused:
    return Refused(query_id, "messages", f"the model's chat template refuses them: {error}")
