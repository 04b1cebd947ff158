"""OpenAI's completions to and from messages: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from ...generated.tokenwire.v1 import events_pb2, inference_pb2, sampling_pb2
from ...item_limits import describe_excess
from ..body import json_type, shown
from ..errors import invalid
from ..fields import Fields
from .constraints import decode_constraint
from .errors import FieldNames
from .json_codec import (
    COMPLETION,
    AnswerHead,
    completion_choice,
    completion_usage,
    decode_shared,
    decode_stream_options,
    num_choices_of,
    sum_usage,
)
from .known_fields import COMPLETIONS, check_names
from .logprobs import completion_lists, end_lists, join_lists, prompt_lists
from .sampling import decode_ids, decode_sampling

MAX_PROMPTS = 16


@dataclass(frozen=True, slots=True)
class CompletionsAsked:
    """A request of `/v1/completions`: a call of the front for each of its prompts.

    `is_list`: they came as a list, which may be of one.
    """

    requests: list[inference_pb2.GenerateRequest]
    names: FieldNames
    is_stream: bool
    includes_usage: bool
    wants_echo: bool
    is_list: bool

    @property
    def num_choices(self) -> int:
        """How many answers each prompt gets."""
        return num_choices_of(self.requests[0].sampling)


def decode_completions(body: dict[str, Any]) -> CompletionsAsked:
    """Reads the body of `/v1/completions`.

    Raises:
        EdgeError: a field is missing, of the wrong type, not known or not honoured.
    """
    fields = Fields(body)
    check_names(fields, COMPLETIONS)
    given: dict[str, str] = {}
    model = fields.string("model")
    prompts, is_list = _decode_prompts(fields.get("prompt"))
    sampling = decode_sampling(fields, given)
    wants_echo = fields.optional_boolean("echo") or False
    _decode_logprobs(fields, sampling, given, wants_echo=wants_echo)
    best_of = fields.optional_integer("best_of")
    if best_of is not None and best_of != num_choices_of(sampling):
        raise invalid("best_of", f"must equal n where it is set, got {best_of}")
    is_stream = fields.optional_boolean("stream") or False
    includes_usage = decode_stream_options(fields, is_stream=is_stream)
    request = inference_pb2.GenerateRequest(
        model=model,
        suffix=fields.optional_string("suffix") or None,
        sampling=sampling,
        constraint=decode_constraint(fields, given),
        delivery=events_pb2.DELIVERY_DELTAS if is_stream else events_pb2.DELIVERY_FINAL,
        progress=is_stream and is_list,  # which tells of each prompt that it is accepted
    )
    decode_shared(fields, request)
    return CompletionsAsked(
        [_with_prompt(request, prompt) for prompt in prompts],
        FieldNames(given, has_prompts=is_list),
        is_stream=is_stream,
        includes_usage=includes_usage,
        wants_echo=wants_echo,
        is_list=is_list,
    )


def encode_completions(
    head: AnswerHead,
    asked: CompletionsAsked,
    answers: list[events_pb2.Finished],
    echoes: Sequence[str],
) -> dict[str, Any]:
    """Returns the whole completions of all prompts, numbered through.

    `echoes` are what the answers to each prompt begin with.
    """
    choices: list[dict[str, Any]] = []
    for prompt, (finished, echo) in enumerate(zip(answers, echoes, strict=True)):
        wants_logprobs = asked.requests[prompt].sampling.HasField("logprobs")
        of_prompt = prompt_lists(finished.prompt_logprobs, echo)
        for choice in finished.choices:
            index = prompt * asked.num_choices + choice.choice
            encoded = completion_choice(echo + choice.text, choice.finished, index=index)
            if wants_logprobs:
                lists, offset = completion_lists(choice.logprobs, len(echo))
                if asked.wants_echo:
                    lists = join_lists(of_prompt, lists, end_lists(choice.finished, offset))
                encoded["logprobs"] = lists
            choices.append(encoded)
    return {
        **head.fields(COMPLETION, answers[0].started),
        "choices": choices,
        "usage": completion_usage(sum_usage([answer.usage for answer in answers])),
    }


_Prompt = str | list[int]


def _decode_prompts(value: object) -> tuple[list[_Prompt], bool]:
    """Returns the prompts, and whether they are a list rather than one alone."""
    if value is None:
        raise invalid("prompt", "is required and must be a string, token ids, or an array of them")
    if isinstance(value, str):
        return [value], False
    if not isinstance(value, list):
        raise invalid(
            "prompt", f"must be a string, token ids, or an array of them, got {json_type(value)}"
        )
    items = cast("list[object]", value)
    if not items:
        raise invalid("prompt", "must have at least 1 item, got 0")
    if not isinstance(items[0], str | list):
        return [decode_ids(items, "prompt")], False
    if len(items) > MAX_PROMPTS:
        raise invalid("prompt", describe_excess(MAX_PROMPTS, len(items)))
    prompts: list[_Prompt] = []
    for index, item in enumerate(items):
        path = f"prompt[{index}]"
        if isinstance(item, str) and isinstance(items[0], str):
            prompts.append(item)
        elif isinstance(items[0], str):
            raise invalid(path, f"must be a string as the first one is, got {shown(item)}")
        else:
            prompts.append(decode_ids(item, path))
    return prompts, True


def _with_prompt(
    request: inference_pb2.GenerateRequest, prompt: _Prompt
) -> inference_pb2.GenerateRequest:
    whole = inference_pb2.GenerateRequest()
    whole.CopyFrom(request)
    if isinstance(prompt, str):
        whole.text = prompt
    else:
        whole.token_ids.ids.extend(prompt)
    return whole


def _decode_logprobs(
    fields: Fields, sampling: sampling_pb2.Sampling, given: dict[str, str], *, wants_echo: bool
) -> None:
    if fields.get("logprobs") is True:
        raise invalid("logprobs", "must be an integer here: how many of the likeliest tokens")
    if fields.get("logprobs") is False:
        return
    logprobs = fields.optional_integer("logprobs")
    if logprobs is None:
        return
    sampling.logprobs = logprobs
    if wants_echo:
        sampling.prompt_logprobs = logprobs
        given["sampling.prompt_logprobs"] = "logprobs"
