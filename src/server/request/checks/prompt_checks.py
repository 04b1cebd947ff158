"""Whether a model can take a prompt, told before anything is tokenised: the one place for it."""

from __future__ import annotations

import msgspec

from ...contract.engine import ModelInfo
from ...contract.errors import ContextTooLong, InvalidRequest
from ...contract.prompts import (
    ChatPrompt,
    InfillPrompt,
    Prompt,
    RenderedPrompt,
    TextPrompt,
    TokenPrompt,
)
from ...settings.fixed_limits import MAX_PROMPT_CHARACTERS
from ..calls import Call
from .tool_checks import check_hidden, check_tools, texts_of


def choose_prompt(call: Call, model: ModelInfo) -> Prompt:
    """Returns the prompt that a call has for `model`, checked as far as its text allows.

    A text is refused that has more bytes than a whole context of the longest token: no tokenizer
    could make it fit, and to find its number of tokens would cost seconds of a core.

    Raises:
        InvalidRequest: the model lacks what the prompt needs, or the text is over the limit.
        ContextTooLong: the prompt cannot fit.
    """
    prompt = call.prompt
    if isinstance(prompt, ChatPrompt) and not model.capabilities.chat:
        if call.prompt_without_template is None:
            raise InvalidRequest("model", f"'{call.model_id}' has no chat template")
        prompt = call.prompt_without_template
    if isinstance(prompt, ChatPrompt):
        check_tools(prompt, model)
        check_hidden(call.hides_thinking, model)
        if call.constraint is not None:
            prompt = msgspec.structs.replace(prompt, answers_at_once=True)
    if isinstance(prompt, InfillPrompt) and not model.capabilities.fill_in_the_middle:
        raise InvalidRequest("suffix", f"'{call.model_id}' has no fill-in-the-middle tokens")
    if call.wants_token_ids and not model.capabilities.token_ids:
        raise InvalidRequest(
            "return_token_ids", f"is not supported by the engine of this model, {model.engine}"
        )
    if isinstance(prompt, TokenPrompt):
        _check_context(call, len(prompt.token_ids), model)
    else:
        num_characters = sum(map(len, _texts(prompt)))
        if num_characters > MAX_PROMPT_CHARACTERS:
            raise InvalidRequest(
                call.prompt_field,
                f"must have at most {MAX_PROMPT_CHARACTERS} characters, got {num_characters}",
            )
        if model.max_token_bytes:
            at_least = -(-num_bytes_of(prompt) // model.max_token_bytes)
            _check_context(call, at_least, model, is_exact=False)
    return prompt


def check_rendered(call: Call, prompt: RenderedPrompt, model: ModelInfo) -> None:
    """Raises `ContextTooLong` where a rendered prompt leaves no room for one token."""
    _check_context(call, prompt.num_tokens, model)


def num_bytes_of(prompt: Prompt) -> int:
    """Counts the bytes of a prompt's text in UTF-8; of token ids, four each."""
    if isinstance(prompt, TokenPrompt):
        return 4 * len(prompt.token_ids)
    return sum(len(text) if text.isascii() else len(text.encode()) for text in _texts(prompt))


def _check_context(call: Call, num_tokens: int, model: ModelInfo, *, is_exact: bool = True) -> None:
    if num_tokens >= model.context_length:
        raise ContextTooLong(call.prompt_field, num_tokens, model.context_length, is_exact=is_exact)


def _texts(prompt: TextPrompt | InfillPrompt | ChatPrompt) -> list[str]:
    match prompt:
        case ChatPrompt():
            return texts_of(prompt)
        case InfillPrompt(prefix, suffix):
            return [prefix, suffix]
        case TextPrompt(text):
            return [text]
