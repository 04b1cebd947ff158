"""SGLang's own chat code, asked for the text of a prompt in place of its ids.

serving = text_serving(manager, template_manager, OpenAIServingChat)
codes, stop = apply_chat_template(serving, messages, name, {})
begin, text = read_codes(codes)
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any


class _TextTokenizer:
    """A tokenizer whose ids are the characters of the text.

    What the real one puts before a text is -1 less its id.
    """

    # SGLang tokenises long prompts with what stands behind these, past `encode`.
    is_fast = False
    backend_tokenizer = None
    _tokenizer = None

    def __init__(self, tokenizer: Any) -> None:  # a tokenizer of transformers
        self._real = tokenizer
        before = list(tokenizer.encode(""))[:1]
        self._begin = [-1 - first for first in before if first == tokenizer.bos_token_id]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def encode(self, text: str, add_special_tokens: bool = True, **_: object) -> list[int]:
        return [*(self._begin if add_special_tokens else ()), *map(ord, text)]

    def apply_chat_template(
        self, conversation: Any, *, tokenize: bool = True, return_dict: bool = False, **rest: Any
    ) -> Any:
        text = self._real.apply_chat_template(conversation, tokenize=False, **rest)
        if not tokenize:
            return text
        ids = self.encode(text, add_special_tokens=False)
        return {"input_ids": ids} if return_dict else ids


def text_serving(manager: Any, template_manager: Any, serving_chat: Any) -> Any:
    """Makes another of SGLang's chat servings, for the same model."""
    stand_in = _Manager(manager, _TextTokenizer(manager.tokenizer))
    return serving_chat(stand_in, template_manager)


def read_codes(codes: Sequence[int]) -> tuple[list[int], str]:
    """Splits what comes of it into the id that begins the prompt, if any, and the text."""
    begin = [-1 - code for code in codes[:1] if code < 0]
    return begin, "".join(map(chr, codes[len(begin) :]))


class _Manager(SimpleNamespace):
    """A tokenizer manager with another tokenizer."""

    def __init__(self, manager: Any, tokenizer: _TextTokenizer) -> None:
        super().__init__(tokenizer=tokenizer)
        self._manager = manager

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)
