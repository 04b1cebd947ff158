"""The fields of a request that this dialect knows: honoured, without effect, or refused.

OpenAI refuses what it does not know, and so do we: a mistyped field is told, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from ..body import shown
from ..errors import invalid
from ..fields import Fields

_MAX_SHOWN = 200
NUMBERS = (
    *("temperature", "top_p", "min_p"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
)
INTEGERS = ("n", "min_tokens")
_SAMPLING = frozenset(
    {
        *NUMBERS,
        *INTEGERS,
        *("max_tokens", "max_completion_tokens", "top_k", "stop", "stop_token_ids", "seed"),
        *("logit_bias", "ignore_eos"),
    }
)
CONSTRAINTS = frozenset(
    {
        *("response_format", "structured_outputs"),
        *("guided_json", "guided_regex", "guided_choice", "guided_grammar"),
        *("regex", "ebnf", "grammar", "json_schema"),
    }
)
_EVERYWHERE = (
    _SAMPLING
    | CONSTRAINTS
    | {"model", "stream", "stream_options", "logprobs", "cache_salt", "priority", "lora_path"}
)
CHAT = _EVERYWHERE | {
    *("messages", "tools", "tool_choice", "parallel_tool_calls", "top_logprobs"),
    *("reasoning_effort", "include_reasoning", "chat_template_kwargs"),
    *("continue_final_message", "add_generation_prompt"),
}
COMPLETIONS = _EVERYWHERE | {"prompt", "suffix", "echo", "best_of"}
"""What each route honours."""

WITHOUT_EFFECT = frozenset(
    {
        # Labels.
        *("user", "metadata", "safety_identifier", "request_id", "rid"),
        # Hints about speed and price; the answer is the same.
        *("prediction", "service_tier", "prompt_cache_key", "prompt_cache_retention"),
        "prompt_cache_options",
        *("cache_prompt", "guided_decoding_backend", "backend_sampling"),
        *("speculative.n_min", "speculative.n_max", "speculative.p_min"),
        # What is set of samplers that are refused where they are turned on.
        *("dynatemp_exponent", "xtc_threshold", "mirostat_tau", "mirostat_eta", "adaptive_decay"),
        *("dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers"),
    }
)
"""What changes no answer, and is taken by every route."""

_NO_ADVICE = "leave it out"
_THINKING = "send reasoning_effort, or the template's own switch in chat_template_kwargs"
_OLLAMA = "it is Ollama's: send OpenAI's fields, such as max_tokens and temperature"
_CHAT_ONLY = "it belongs to /v1/chat/completions"
_COMPLETIONS_ONLY = "it belongs to /v1/completions"
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(sorted(CHAT - COMPLETIONS), _CHAT_ONLY),
    **dict.fromkeys(sorted(COMPLETIONS - CHAT), _COMPLETIONS_ONLY),
    "extra_body": "send its fields beside the others, as OpenAI's client for Python does",
    "functions": 'send tools, each {"type": "function", "function": ...}',
    "function_call": "send tool_choice",
    "modalities": "answers are text",
    "audio": "answers are text",
    "store": "nothing is stored here",
    "moderation": "nothing is moderated here",
    "web_search_options": "give the model a tool that searches",
    "verbosity": "say it in a message",
    "input": "it belongs to OpenAI's /v1/responses; send messages",
    "instructions": "it belongs to OpenAI's /v1/responses; send a message of role system",
    "max_output_tokens": "send max_completion_tokens",
    "reasoning": _THINKING,
    "thinking": _THINKING,
    "enable_thinking": _THINKING,
    "think": _THINKING,
    "thinking_token_budget": _THINKING,
    "separate_reasoning": "thinking is always told apart; include_reasoning false leaves it out",
    "stream_reasoning": "thinking is streamed; include_reasoning false leaves it out",
    # vLLM's and SGLang's.
    "use_beam_search": _NO_ADVICE,
    "length_penalty": _NO_ADVICE,
    "early_stopping": _NO_ADVICE,
    "skip_special_tokens": _NO_ADVICE,
    "spaces_between_special_tokens": _NO_ADVICE,
    "include_stop_str_in_output": _NO_ADVICE,
    "no_stop_trim": _NO_ADVICE,
    "stop_regex": "send stop",
    "min_new_tokens": "send min_tokens",
    "max_new_tokens": "send max_tokens",
    "truncate_prompt_tokens": "shorten the prompt",
    "prompt_logprobs": "/v1/completions tells them with echo and logprobs, "
    "/tokenwire/v1/chat and /tokenwire/v1/generate in sampling.prompt_logprobs",
    "return_tokens_as_token_ids": _NO_ADVICE,
    "return_token_ids": "/tokenwire/v1/chat and /tokenwire/v1/generate tell ids",
    "return_hidden_states": _NO_ADVICE,
    "return_routed_experts": _NO_ADVICE,
    "allowed_token_ids": "send logit_bias or a constraint",
    "bad_words": "send logit_bias",
    "add_special_tokens": "the model's template decides",
    "documents": "put them into messages",
    "chat_template": "the model's own is used; chat_template_kwargs sets its values",
    "chat_template_content_format": "the model's template decides",
    "mm_processor_kwargs": _NO_ADVICE,
    "media_io_kwargs": _NO_ADVICE,
    "structural_tag": "send tools, or a constraint such as response_format",
    "guided_whitespace_pattern": _NO_ADVICE,
    "logits_processors": _NO_ADVICE,
    "custom_logit_processor": _NO_ADVICE,
    "custom_params": _NO_ADVICE,
    "session_params": _NO_ADVICE,
    "kv_transfer_params": _NO_ADVICE,
    "vllm_xargs": _NO_ADVICE,
    # llama.cpp's.
    "n_predict": "send max_tokens",
    "repeat_penalty": "send repetition_penalty",
    "repeat_last_n": _NO_ADVICE,
    "id_slot": _NO_ADVICE,
    "samplers": _NO_ADVICE,
    "typ_p": _NO_ADVICE,
    "typical_p": _NO_ADVICE,
    "tfs_z": _NO_ADVICE,
    "top_n_sigma": _NO_ADVICE,
    "mirostat": _NO_ADVICE,
    "dynatemp_range": _NO_ADVICE,
    "xtc_probability": _NO_ADVICE,
    "dry_multiplier": _NO_ADVICE,
    "adaptive_target": _NO_ADVICE,
    "penalize_nl": _NO_ADVICE,
    "min_keep": _NO_ADVICE,
    "n_cmpl": "send n",
    "n_probs": "send logprobs",
    "post_sampling_probs": "log-probabilities are the model's own, before sampling",
    "n_keep": "shorten the conversation",
    "n_discard": "shorten the conversation",
    "n_indent": _NO_ADVICE,
    "t_max_predict_ms": "send max_tokens",
    "lora": "send lora_path",
    "response_fields": _NO_ADVICE,
    "return_tokens": "/tokenwire/v1/chat and /tokenwire/v1/generate tell ids",
    "timings_per_token": "/tokenwire/v1/chat tells times at its end",
    "return_progress": "/tokenwire/v1/chat tells progress",
    "reasoning_format": "thinking is told as reasoning_content",
    "reasoning_in_content": "thinking is told as reasoning_content",
    "reasoning_budget": _THINKING,
    "thinking_forced_open": _THINKING,
    "parse_tool_calls": "calls are always told apart",
    # Ollama's.
    "options": _OLLAMA,
    "format": "send response_format",
    "keep_alive": _OLLAMA,
    "images": "send image_url parts in the content of a message",
}
"""What is known and cannot be honoured, with what to do instead."""

# Values that ask for nothing: of every field but these, and the defaults of some.
_OFF: tuple[object, ...] = (False, "", [], {})
_ASKING: Mapping[str, Any] = {
    "web_search_options": {},  # a search with no options is a search
    # On, unless they are turned off.
    **dict.fromkeys(("enable_thinking", "think", "thinking"), False),
    **dict.fromkeys(("separate_reasoning", "stream_reasoning"), False),
    **dict.fromkeys(("skip_special_tokens", "parse_tool_calls"), False),
}
_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "verbosity": ("medium",),
    "length_penalty": (1, 1.0),
    "repeat_penalty": (1, 1.0),
    "n_predict": (-1,),
    "n_cmpl": (1,),
    "n_probs": (0,),
    "n_keep": (0,),
    "n_discard": (0,),
    "n_indent": (0,),
    "min_keep": (0,),
    "t_max_predict_ms": (0, -1),
    "typ_p": (1, 1.0),
    "typical_p": (1, 1.0),
    "tfs_z": (1, 1.0),
    "top_n_sigma": (-1, -1.0),
    "adaptive_target": (-1, -1.0),
    "mirostat": (0,),
    "penalize_nl": (True,),
    "parse_tool_calls": (True,),
    "reasoning_budget": (-1,),
    "repeat_last_n": (64, -1, 0),  # llama.cpp's, the whole text as here, and no penalties at all
    "samplers": (
        [
            "penalties",
            "dry",
            "top_n_sigma",
            "top_k",
            "typ_p",
            "top_p",
            "min_p",
            "xtc",
            "temperature",
        ],
    ),
    "id_slot": (-1,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "separate_reasoning": (True,),
    "stream_reasoning": (True,),
    "reasoning_format": ("auto", "deepseek"),
    "chat_template_content_format": ("auto",),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True,),
    "top_logprobs": (0,),
    "reasoning_effort": ("none",),
    "include_reasoning": (True,),
    "add_generation_prompt": (True,),
    "best_of": (1,),
    "dynatemp_range": (0, 0.0),
    "xtc_probability": (0, 0.0),
    "dry_multiplier": (0, 0.0),
}


def check_names(fields: Fields, honoured: Set[str]) -> None:
    """Looks at the names of a body's fields, before anything is read.

    Raises:
        EdgeError: a field is not known, or not honoured and asks for something; names the first.
    """
    for name in fields.names():
        value = fields.get(name)
        if name in honoured or name in WITHOUT_EFFECT or value is None:
            continue
        advice = REFUSED.get(name)
        if advice is None:
            raise invalid(name[:_MAX_SHOWN], "is no field of this route")
        if not _asks_for_nothing(name, value):
            raise invalid(name, f"is not supported here, got {shown(value)}; {advice}")


def _asks_for_nothing(name: str, value: object) -> bool:
    if name in _ASKING and value == _ASKING[name]:
        return False
    harmless = (*_OFF, *_DEFAULTS.get(name, ()))
    # 0 equals False, and is not the same.
    return any(value == other and type(value) is type(other) for other in harmless)
