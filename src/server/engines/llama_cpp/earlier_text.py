"""How an answer of llama.cpp goes on that another process began."""

from __future__ import annotations

from dataclasses import replace

from ...contract.earlier_output import EarlierOutput
from ...contract.engine import EngineRequest
from ...contract.events import TextDelta
from ...contract.prompts import RenderedPrompt
from ...contract.token_ids import TokenIds
from .prompts.tokenizing import TextTokenizer


def begin_of(request: EngineRequest, choice: int) -> EarlierOutput:
    """Returns behind which output a choice goes on; nothing where it is made once more.

    llama.cpp follows a grammar from the first token that it generates, and reads a prompt with
    images as text: such an answer is made from its beginning, with the same seed.
    """
    form = request.prompt.form
    has_grammar = bool(request.constraint) or (form is not None and bool(form.forced_schema))
    if has_grammar or request.prompt.images:
        return EarlierOutput()
    return request.earlier_of(choice)


def prompt_with(prompt: RenderedPrompt, earlier: EarlierOutput) -> RenderedPrompt:
    """Returns a prompt with the output behind it."""
    if not earlier.token_ids:
        return prompt
    return replace(prompt, token_ids=TokenIds(prompt.token_ids.data + earlier.token_ids.data))


async def retell(earlier: EarlierOutput, choice: int, tokenizer: TextTokenizer) -> TextDelta | None:
    """Returns what the earlier output said, as one piece; None: nothing.

    Raises:
        Unreachable: the server does not answer.
    """
    ids = earlier.token_ids
    if not ids:
        return None
    # Whole characters alone were told, and a token that is none may be a part of one.
    text = (await tokenizer.detokenize(ids)).decode(errors="ignore")
    return TextDelta(text, len(ids), tuple(ids), choice=choice)
