"""`LLM_SGLANG_ARGS`: words of SGLang's command line, checked against its own list."""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NoReturn

from ..settings import VARIABLES

VARIABLE: Final = "LLM_SGLANG_ARGS"
MODEL_OVERRIDES: Final = "json_model_override_args"

_OWN_PROCESS: Final = "the service runs SGLang in a process of its own and listens itself"
_OWN_STREAM: Final = "the service needs its own value to read SGLang's answers"
_OWN_LOG: Final = "the log has SGLang's warnings and errors; below them it prints prompts"
_OWN_PROMPTS: Final = "prompts are tokenised and rendered by the service"

OWNED: Final[Mapping[str, str]] = {
    argument: f"use {variable}" for argument, variable in VARIABLES.items()
} | {
    "model_path": "LLM_ALLOWED_MODELS names the models",
    "tokenizer_path": "the id in LLM_ALLOWED_MODELS names the tokenizer (…@owner/tokenizer-repo)",
    "served_model_name": "a model is served under its id in LLM_ALLOWED_MODELS",
    "revision": "LLM_ALLOWED_MODELS and LLM_MODEL_PATH decide which files are used",
    "download_dir": "HF_HOME and LLM_MODEL_PATH decide where models lie",
    "device": "use LLM_DEVICE",
    "base_gpu_id": "use CUDA_VISIBLE_DEVICES",
    "speculative_draft_model_path": "use LLM_SPECULATIVE_DRAFT_MODEL",
    "enable_lora": "use LLM_LORA_ADAPTERS",
    "lora_paths": "use LLM_LORA_ADAPTERS",
    "page_size": "use LLM_PAGED_ATTENTION_BLOCK_SIZE",
    "context_length": "use LLM_MAX_MODEL_LEN",
    "disable_radix_cache": "use LLM_ENABLE_PREFIX_CACHING",
    "max_running_requests": "use LLM_MAX_CONCURRENT_REQUESTS",
    "max_queued_requests": "use LLM_MAX_QUEUED_REQUESTS",
    "quantization_param_path": "use LLM_KV_CACHE_SCALES",
    "incremental_streaming_output": _OWN_STREAM,
    "stream_interval": _OWN_STREAM,
    "stream_response_default_include_usage": _OWN_STREAM,
    "sampling_defaults": "LLM_DEFAULT_… and the request decide how is sampled",
    "skip_tokenizer_init": _OWN_PROMPTS,
    "tokenizer_worker_num": _OWN_PROCESS,
    "is_embedding": "the service generates text",
    "config": f"write the arguments themselves into {VARIABLE}",
    "host": _OWN_PROCESS,
    "port": _OWN_PROCESS,
    "grpc_mode": _OWN_PROCESS,
    "grpc_port": _OWN_PROCESS,
    "fastapi_root_path": _OWN_PROCESS,
    "api_key": _OWN_PROCESS,
    "admin_api_key": "the service has no such route",
    "ssl_keyfile": _OWN_PROCESS,
    "ssl_certfile": _OWN_PROCESS,
    "log_level": _OWN_LOG,
    "log_requests": _OWN_LOG,
    "log_requests_level": _OWN_LOG,
    "log_requests_format": _OWN_LOG,
    "log_requests_target": _OWN_LOG,
    "skip_server_warmup": "the service sends a first request of its own",
    "warmups": "the service sends a first request of its own",
    "grammar_backend": "constraints are checked as llguidance reads them",
    "allowed_media_domains": "the service takes no pictures or sounds",
    "media_url_max_file_size_mb": "the service takes no pictures or sounds",
    "custom_sigquit_handler": _OWN_PROCESS,
    "disaggregation_mode": "the service runs prefill and decode in one engine",
}
"""What may not be given, by the name of the field in `ServerArgs`, and who decides it instead."""


class ExtraArgumentError(Exception):
    """A word of `LLM_SGLANG_ARGS` that cannot be used. For the operator."""


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would print its usage, of hundreds of lines, and exit."""

    def error(self, message: str) -> NoReturn:
        raise ExtraArgumentError(f"{VARIABLE}: {message}")


def parse_extra_arguments(
    server_args: Any,  # SGLang's class, which has no types
    words: Sequence[str],
    fields: Collection[str],
) -> dict[str, Any]:
    """Reads words of SGLang's command line; gives those fields of `ServerArgs` that they name.

    Raises:
        ExtraArgumentError: a name that SGLang does not have, a value that it does not take, or an
            argument that is the service's to set. Says which, and what to use instead.
    """
    if not words:
        return {}
    parser = _Parser(prog=VARIABLE, add_help=False, allow_abbrev=False)
    server_args.add_cli_args(parser)
    for action in parser._actions:
        # Only what is given counts, whatever SGLang's defaults are.
        action.required, action.default = False, argparse.SUPPRESS
    try:
        found, unknown = parser.parse_known_args(list(words), argparse.Namespace())
    except (AssertionError, ValueError, TypeError, KeyError) as error:
        # SGLang's own conversions of values raise what they like.
        raise ExtraArgumentError(f"{VARIABLE}: {error}") from error
    if unknown:
        raise ExtraArgumentError(_unknown(unknown[0], parser))
    arguments = vars(found)
    for name in arguments:
        if name in OWNED:
            raise ExtraArgumentError(
                f"{VARIABLE}: {_option(parser, name)} cannot be given here: {OWNED[name]}"
            )
        if name not in fields:
            raise ExtraArgumentError(
                f"{VARIABLE}: {_option(parser, name)} means nothing to an engine that is embedded"
            )
    return arguments


def merge_arguments(ours: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Puts what the operator gives over what the service would choose.

    Overrides of the model's configuration are merged: without the service's own, a GGUF file of
    the Llama family answers nonsense.
    """
    merged = {**ours, **given}
    if MODEL_OVERRIDES in ours and MODEL_OVERRIDES in given:
        values = json.loads(ours[MODEL_OVERRIDES]) | json.loads(given[MODEL_OVERRIDES])
        merged[MODEL_OVERRIDES] = json.dumps(values)
    return merged


def _unknown(word: str, parser: argparse.ArgumentParser) -> str:
    name = word.partition("=")[0]
    if not name.startswith("-"):
        return f"{VARIABLE}: '{word}' belongs to no argument; names begin with --"
    options = [option for action in parser._actions for option in action.option_strings]
    longer = sorted((option for option in options if option.startswith(name)), key=len)
    nearest = longer or difflib.get_close_matches(name, options, n=1, cutoff=0.81)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"{VARIABLE}: SGLang has no argument {name}{hint}"


def _option(parser: argparse.ArgumentParser, field: str) -> str:
    names = (action.option_strings[0] for action in parser._actions if action.dest == field)
    return next(names, field)
