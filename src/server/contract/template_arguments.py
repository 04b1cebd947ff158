"""Names in a chat template that are not a caller's to set."""

from __future__ import annotations

from typing import Final

RESERVED_TEMPLATE_ARGUMENTS: Final = frozenset(
    {
        # What an engine gives to every template: the conversation, and how its turns are marked.
        # llama.cpp would let an argument of the same name take its place
        # (`common_chat_template_direct_apply`, common/chat.cpp), transformers a token's.
        *("messages", "tools", "documents", "add_generation_prompt"),
        *("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token"),
        *("mask_token", "additional_special_tokens"),
        # Functions that templates call.
        *("raise_exception", "strftime_now", "namespace", "range", "dict", "joiner", "cycler"),
        *("lipsum",),
        # Parameters of transformers' `apply_chat_template` and of what it calls: SGLang passes a
        # caller's arguments beside its own.
        *("self", "conversation", "conversations", "chat_template", "continue_final_message"),
        *("tokenize", "padding", "truncation", "max_length", "return_tensors", "return_dict"),
        *("return_assistant_tokens_mask", "tokenizer_kwargs", "compiled_template"),
    }
)
