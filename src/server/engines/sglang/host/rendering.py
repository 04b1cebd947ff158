"""Prompts to token ids, with SGLang's own tokenizer and templates."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

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
from ....contract.tools import AnswerForm
from ...answers.chat_features import (
    AUTO,
    NO_FEATURES,
    PROBE_TOOL,
    find_features,
    offered_tools,
)
from ...answers.spelling import spell_tool
from ...caller_texts import check_texts
from ...fim import find_fim_tokens, infill_ids
from ...literal_text import Render, Tokenize, read_chat, read_text, strings_of
from ...merge_roles import merge_consecutive
from ...prompt_checks import check_not_empty, check_vocabulary, need_fim_tokens
from ..literal.special_tokens import find_special_texts
from ..literal.text_serving import read_codes, text_serving
from .content_form import ContentForm, find_content_form, spell_message
from .images import spell_parts
from .internals import OpenAIServingChat, apply_chat_template, keep_last_message

_NUM_END_IDS: Final = 16
"""The last ids of a prompt, enough for the mark of thinking and space behind it."""


class Renderer:
    """Renders prompts. Safe to use from several threads."""

    def __init__(  # SGLang has no types
        self,
        engine: Any,
        tool_parser: str = AUTO,
        reasoning_parser: str = AUTO,
        *,
        reads_special: bool = False,
    ) -> None:
        """Takes SGLang's `Engine`; `reads_special`: control tokens in messages are read."""
        manager = engine.tokenizer_manager
        self._tokenizer = manager.tokenizer
        self._vocab_size = int(manager.model_config.vocab_size)
        self._model_name = manager.served_model_name
        self._chat = OpenAIServingChat(manager, engine.template_manager)
        keep_last_message(self._chat)
        self._text_chat = text_serving(manager, engine.template_manager, OpenAIServingChat)
        keep_last_message(self._text_chat)
        self._special = find_special_texts(self._tokenizer)
        # Tokenizers of mistral-common never read a control token in a text, and theirs have none.
        self._has_text = not getattr(self._chat, "_prompt_text_round_trip_is_lossy", False)
        self._reads_special = reads_special
        self._is_literal = self._has_text and not reads_special
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
        self.features = NO_FEATURES
        if self.has_chat:
            self._content = find_content_form(self._render_probe)
            self.features = find_features(
                _template_source(self._tokenizer),
                takes_tools=self._takes_tools(),
                tool_parser=tool_parser,
                reasoning_parser=reasoning_parser,
            )

    @property
    def has_fim(self) -> bool:
        """Whether the tokenizer has the tokens to fill in the middle."""
        return self._fim is not None

    @property
    def any_token_id(self) -> int:
        """An id that stands for nothing much, for the first request."""
        bos, eos = self._tokenizer.bos_token_id, self._tokenizer.eos_token_id
        return int(bos if bos is not None else eos or 0)

    def render(self, prompt: Prompt) -> RenderedPrompt:
        """Renders one prompt. Every id of the answer is within the vocabulary.

        Raises:
            InvalidRequest: see `Engine.render`.
        """
        match prompt:
            case TextPrompt(text):
                return self._checked("text", TokenIds.of(self._tokenizer.encode(text)))
            case TokenPrompt(token_ids):
                return self._checked("token_ids", token_ids)
            case InfillPrompt(prefix, suffix):
                return self._render_infill(prefix, suffix)
            case ChatPrompt():
                return self._render_chat(prompt)

    def _render_infill(self, prefix: str, suffix: str) -> RenderedPrompt:
        fim = need_fim_tokens(self._fim)
        before, after = (
            self._follow(read_text(self._special, text)) or () for text in (prefix, suffix)
        )
        return self._checked("suffix", infill_ids(fim, before, after, self._begin))

    def _render_chat(self, prompt: ChatPrompt) -> RenderedPrompt:
        if prompt.images and not self._reads_special:
            check_texts(prompt, self._special)
        try:
            ids, stop = self._read_chat(prompt, prompt.messages)
        except ValueError as error:
            merged = merge_consecutive(prompt.messages)
            if merged == prompt.messages:
                raise _refused_by_template(error) from error
            try:
                ids, stop = self._read_chat(prompt, merged)
            except ValueError as error_of_merged:
                raise _refused_by_template(error_of_merged) from error_of_merged
        # What a continued message ends with is the caller's own word, and no mark of a template.
        is_marked = not prompt.continue_last_message
        end = str(self._tokenizer.decode(ids[-_NUM_END_IDS:])) if is_marked else ""
        form, ending = self.features.form(prompt, end)
        if ending:
            ids += self._tokenizer.encode(ending, add_special_tokens=False)
        rendered = self._checked("messages", TokenIds.of(ids), stop, form)
        return replace(rendered, images=prompt.images) if prompt.images else rendered

    def _read_chat(
        self, prompt: ChatPrompt, messages: Sequence[ChatMessage]
    ) -> tuple[list[int], tuple[str, ...]]:
        value: dict[str, Any] = {
            "messages": [
                spell_parts(message) if message.parts else spell_message(message, self._content)
                for message in messages
            ],
            "arguments": self.features.template_arguments(prompt),
            "tools": [spell_tool(tool) for tool in offered_tools(prompt)],
        }
        if prompt.images:
            return self._apply_template(self._chat, {**value, "has_images": True})
        is_literal = self._is_literal and self._special.occur_in(strings_of(value))
        if prompt.continue_last_message and not self._has_text:
            raise InvalidRequest(
                "continue_last_message", "is not supported with the tokenizer of this model"
            )
        if is_literal or prompt.continue_last_message:
            return self._read_literally(value, prompt.continue_last_message, is_literal)
        return self._apply_template(self._chat, value)

    def _read_literally(
        self, value: dict[str, Any], continues: bool, is_literal: bool
    ) -> tuple[list[int], tuple[str, ...]]:
        # Also where the template refuses it: that one's error is told.
        codes, stop = self._apply_template(self._text_chat, value)
        begin, _ = read_codes(codes)
        steps = read_chat(self._special, value, continues=continues, is_literal=is_literal)
        return [*begin, *(self._follow(steps) or ())], stop

    def _follow(
        self, steps: Generator[Render | Tokenize, Any, list[int] | None]
    ) -> list[int] | None:
        """Does what the steps of a literal text ask for."""
        done: str | list[int] | None = None
        while True:  # ends with the steps, of which there are a few
            try:
                step = steps.send(done)
            except StopIteration as end:
                ids: list[int] | None = end.value
                return ids
            match step:
                case Render(value):
                    try:
                        done = read_codes(self._apply_template(self._text_chat, value)[0])[1]
                    except ValueError:
                        done = None
                case Tokenize(text):
                    done = list(self._tokenizer.encode(text, add_special_tokens=False))

    def _render_probe(self, messages: Sequence[Mapping[str, Any]]) -> str:
        ids, _ = apply_chat_template(self._chat, list(messages), self._model_name, {})
        return str(self._tokenizer.decode(ids))

    def _takes_tools(self) -> bool:
        """Tries whether the template prints tools: one that does not leaves them out in silence."""
        hello = spell_message(ChatMessage(Role.USER, "Hello"), self._content)
        try:
            ids, _ = apply_chat_template(
                self._chat, [hello], self._model_name, {}, [spell_tool(PROBE_TOOL)]
            )
        except (ValueError, TypeError):
            return False
        return PROBE_TOOL.name in str(self._tokenizer.decode(ids))

    def _apply_template(
        self, serving: Any, value: Mapping[str, Any]
    ) -> tuple[list[int], tuple[str, ...]]:
        return apply_chat_template(
            serving,
            value["messages"],
            self._model_name,
            value["arguments"],
            value["tools"],
            has_images=bool(value.get("has_images")),
        )

    def _checked(
        self,
        field: str,
        ids: TokenIds,
        stop: tuple[str, ...] = (),
        form: AnswerForm | None = None,
    ) -> RenderedPrompt:
        """Lets nothing through that the scheduler does not survive: no ids, or unknown ones."""
        check_not_empty(field, ids)
        check_vocabulary(field, ids, self._vocab_size)
        return RenderedPrompt(ids, stop, form)


def _template_source(tokenizer: Any) -> str:
    """Returns the text of the chat templates of a tokenizer; SGLang's own have none."""
    template: Any = getattr(tokenizer, "chat_template", None)
    if hasattr(template, "values"):  # several, by name
        return "".join(template.values())
    return str(template or "")


def _refused_by_template(error: ValueError) -> InvalidRequest:
    return InvalidRequest("messages", f"the model's chat template refuses them: {error}")
