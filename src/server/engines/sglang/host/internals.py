"""Every name of SGLang that the host uses: most are internal and may move with a release.

Untyped, because SGLang has no types, and the type checkers run where it is not installed.
Importing this takes ten seconds, and must come after the stand-in for SGLang's kernels.
Which version lacks what is in `versions.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

VERSION: str = import_module("sglang").__version__
Engine: Any = import_module("sglang.srt.entrypoints.engine").Engine
ServerArgs: Any = import_module("sglang.srt.server_args").ServerArgs
GenerateReqInput: Any = import_module("sglang.srt.managers.io_struct").GenerateReqInput
ChatCompletionRequest: Any = import_module(
    "sglang.srt.entrypoints.openai.protocol"
).ChatCompletionRequest
OpenAIServingChat: Any = import_module(
    "sglang.srt.entrypoints.openai.serving_chat"
).OpenAIServingChat


def argument_names() -> frozenset[str]:
    """Lists the arguments that this SGLang knows."""
    return _field_names(ServerArgs)


def trace_arguments(headers: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Gives what a request says of the trace that it belongs to.

    SGLang looks at it where its own tracing is on.
    """
    if not headers or "external_trace_header" not in _field_names(GenerateReqInput):
        return {}
    return {"external_trace_header": dict(headers)}


def resolved_argument(server_args: Any, name: str) -> Any:
    """Gives the value that is in effect: SGLang decides what was left open, and corrects some."""
    # Newer releases keep the operator's input apart from what was made of it.
    try:
        overrides = import_module("sglang.srt.arg_groups.overrides")
    except ModuleNotFoundError:
        return getattr(server_args, name)
    read = getattr(overrides, "resolution_result", None)
    return getattr(server_args, name) if read is None else read(server_args, name)


def apply_chat_template(
    serving: Any,
    messages: list[Mapping[str, Any]],
    model_name: str,
    arguments: dict[str, Any],
    tools: Sequence[Mapping[str, Any]] = (),
    *,
    has_images: bool = False,
) -> tuple[list[int], tuple[str, ...]]:
    """Gives what SGLang's own chat endpoint would give to its scheduler: ids, and stop strings.

    Raises:
        ValueError: the template refuses the conversation.
    """
    request = ChatCompletionRequest(
        model=model_name,
        messages=messages,
        chat_template_kwargs=arguments or None,
        tools=list(tools) or None,
    )
    result = serving._process_messages(request, is_multimodal=has_images)
    stop = [result.stop] if isinstance(result.stop, str) else result.stop or []
    return list(result.prompt_ids), tuple(stop)


def keep_last_message(serving: Any) -> None:
    """Leaves a last message of the assistant what it is: SGLang makes one of the user of it."""

    def keep(messages: Any, _request: Any) -> tuple[Any, None]:
        return messages, None

    serving._handle_last_assistant_message = keep


def _field_names(kind: Any) -> frozenset[str]:
    # A msgspec struct in newer releases, a dataclass in older ones.
    return frozenset(getattr(kind, "__struct_fields__", None) or kind.__dataclass_fields__)
