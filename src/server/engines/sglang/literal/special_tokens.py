"""The control tokens of a tokenizer of transformers."""

from __future__ import annotations

import json
from typing import Any

from ...special_text import SpecialTexts, is_control_text


def find_special_texts(tokenizer: Any) -> SpecialTexts:
    """Picks them among the tokens that were added to a vocabulary."""
    template = json.dumps(getattr(tokenizer, "chat_template", None) or "", ensure_ascii=False)
    # By id; each entry says whether it is special. Some tokenizers of other packages have none.
    added: dict[int, Any] = getattr(tokenizer, "added_tokens_decoder", None) or {}
    ids = {
        token.content: token_id
        for token_id, token in added.items()
        if is_control_text(token.content, is_special=token.special, template=template)
    }
    unknown = getattr(tokenizer, "unk_token_id", None)
    return SpecialTexts(ids, () if unknown is None else (unknown,))
