"""Requests from protos to the domain, events from the domain to protos."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tokenwire.generated.tokenwire.v1 import (
    chat_pb2,
    events_pb2,
    inference_pb2,
    models_pb2,
    sampling_pb2,
)
from tokenwire.server.contract.engine import (
    ChatMessage,
    ChatPrompt,
    InfillPrompt,
    Role,
    TextPrompt,
    TokenPrompt,
)
from tokenwire.server.contract.errors import InvalidRequest
from tokenwire.server.contract.events import FinishReason, Prefill, TextDelta
from tokenwire.server.contract.load_progress import LoadProgress
from tokenwire.server.contract.template_arguments import RESERVED_TEMPLATE_ARGUMENTS
from tokenwire.server.models.model_state import ModelView, State
from tokenwire.server.request.calls import (
    CallFinished,
    CallStarted,
    Decoding,
    Loading,
    ProgressEvent,
    Queued,
)
from tokenwire.server.rpc.proto_codec import (
    INSTRUCTION_SYSTEM_LINE,
    decode_chat,
    decode_generate,
    encode_choice_finished,
    encode_delta,
    encode_final,
    encode_finished,
    encode_models,
    encode_progress,
    encode_started,
)

from ..scripted_engine import ScriptedEngine

FINISHED = CallFinished(FinishReason.STOP, "end", 5, 2, 3, 0.5, 1.5, 1.0, 2.0)
STARTED = CallStarted("r", "m", "abc", 5, 2, 16, 7)


def generate(**fields: Any) -> inference_pb2.GenerateRequest:
    return inference_pb2.GenerateRequest(model="m", **fields)


def chat(**arguments: Any) -> inference_pb2.ChatRequest:
    """A ChatRequest with these template arguments."""
    parts = [chat_pb2.ContentPart(text="a"), chat_pb2.ContentPart(text="b")]
    request = inference_pb2.ChatRequest(
        model="m", messages=[chat_pb2.Message(role=chat_pb2.ROLE_USER, content=parts)]
    )
    request.template_arguments.values.update(arguments)
    return request


@pytest.mark.parametrize(
    ("request_", "prompt", "field"),
    [
        (generate(text="a"), TextPrompt("a"), "text"),
        (generate(text="a", suffix=""), InfillPrompt("a", ""), "text"),
        (generate(token_ids=inference_pb2.TokenIds(ids=[3])), TokenPrompt((3,)), "token_ids"),
    ],
)
def test_prompts(request_: Any, prompt: Any, field: str) -> None:
    """Each kind of prompt is what its fields say, and errors will name the field."""
    call = decode_generate(request_, "r")
    assert (call.prompt, call.prompt_field) == (prompt, field)
    assert call.prompt_without_template is None


def test_instruction() -> None:
    """An instruction is a chat, and plain text on a model without a template."""
    call = decode_generate(generate(text="a", as_instruction=True), "r")
    system = ChatMessage(Role.SYSTEM, INSTRUCTION_SYSTEM_LINE)
    assert call.prompt == ChatPrompt((system, ChatMessage(Role.USER, "a")))
    assert call.prompt_without_template == TextPrompt("a")


def test_chat_joins_its_parts_and_keeps_its_arguments() -> None:
    """Neighbouring text parts are one text, and template arguments arrive as JSON values."""
    call = decode_chat(chat(shout="!!", deep={"on": [True, 1.5]}), "r")
    arguments = {"shout": "!!", "deep": {"on": [True, 1.5]}}
    assert call.prompt == ChatPrompt((ChatMessage(Role.USER, "ab"),), arguments)


@pytest.mark.parametrize("name", sorted(RESERVED_TEMPLATE_ARGUMENTS))
def test_reserved_template_argument_is_refused_by_name(name: str) -> None:
    """No caller replaces the conversation, a token's text or the opening of the turn."""
    with pytest.raises(InvalidRequest, match=f"template_arguments: '{name}'"):
        decode_chat(chat(**{name: "x"}), "r")


def test_absent_fields_are_none() -> None:
    """What a request does not say is None or zero, and is told apart from a zero that it says."""
    nothing = decode_generate(generate(text="a"), "r")
    assert (nothing.time_limit_s, nothing.max_queue_wait_s) == (None, None)
    assert (nothing.sampling.temperature, nothing.sampling.seed) == (None, None)
    sampling = sampling_pb2.Sampling(temperature=0, seed=0, max_tokens=0)
    zero = decode_generate(
        generate(text="a", sampling=sampling, max_queue_wait=Duration(), time_limit=Duration()),
        "r",
    )
    assert (zero.time_limit_s, zero.max_queue_wait_s) == (0, 0)
    assert (zero.sampling.temperature, zero.sampling.seed, zero.sampling.max_tokens) == (0, 0, 0)


@pytest.mark.parametrize(
    ("event", "encoded"),
    [
        (
            Loading("reading", 0.5),
            events_pb2.Progress(loading=events_pb2.Progress.Loading(step="reading", fraction=0.5)),
        ),
        (
            Queued(2, 1.5),
            events_pb2.Progress(
                queued=events_pb2.Progress.Queued(
                    place=2, expected_wait=Duration(seconds=1, nanos=500_000_000)
                )
            ),
        ),
        (
            Queued(1, None),
            events_pb2.Progress(queued=events_pb2.Progress.Queued(place=1)),
        ),
        (
            Prefill(3, 9),
            events_pb2.Progress(
                prefill=events_pb2.Progress.Prefill(num_processed_tokens=3, num_prompt_tokens=9)
            ),
        ),
        (
            Decoding(4),
            events_pb2.Progress(decode=events_pb2.Progress.Decode(num_completion_tokens=4)),
        ),
    ],
)
def test_progress(event: ProgressEvent, encoded: events_pb2.Progress) -> None:
    """Each step of a request's way has its own phase."""
    assert encode_progress(event) == encoded


def test_started_and_delta() -> None:
    """A start tells what is in force, and a delta its text and ids."""
    started = encode_started(STARTED)
    assert (started.request_id, started.model, started.model_revision) == ("r", "m", "abc")
    assert (started.num_prompt_tokens, started.num_cached_prompt_tokens) == (5, 2)
    assert (started.max_tokens, started.seed) == (16, 7)
    delta = encode_delta(TextDelta("a", 1, (9,)))
    assert (delta.text.text, list(delta.text.token_ids)) == ("a", [9])


@pytest.mark.parametrize(
    ("matched", "field"), [("end", "stop"), (2, "stop_token_id"), (None, None)]
)
def test_what_matched(matched: str | int | None, field: str | None) -> None:
    """An end tells the stop string or the id that it is due to, an empty choice otherwise."""
    end = encode_choice_finished(replace(FINISHED, matched=matched))
    assert end.WhichOneof("matched") == field
    assert end.finish_reason == events_pb2.FINISH_REASON_STOP


def test_finished() -> None:
    """The last event tells tokens and times; times that do not exist are unset."""
    finished = encode_finished(FINISHED)
    usage = finished.usage
    assert (usage.num_prompt_tokens, usage.num_cached_prompt_tokens) == (5, 2)
    assert usage.num_completion_tokens == 3
    assert finished.timings.time_to_first_token.ToMilliseconds() == 1500
    assert finished.timings.tokens_per_second == 1
    nothing = encode_finished(replace(FINISHED, ttft_s=None, prefill_s=None))
    assert not nothing.timings.HasField("time_to_first_token")
    assert not nothing.timings.HasField("prefill")


def test_final() -> None:
    """The one message of delivery FINAL holds the start, the answer and its end."""
    final = encode_final(STARTED, "text", [1, 2], FINISHED)
    (choice,) = final.choices
    assert final.started == encode_started(STARTED)
    assert (choice.text, list(choice.token_ids), choice.finished.stop) == ("text", [1, 2], "end")


async def test_models() -> None:
    """A model that serves tells its facts; one that loads tells how far it is."""
    info = ScriptedEngine(context_length=64).info
    loading = ModelView("a", "", State.LOADING, LoadProgress("fetching", 0.5, "1 GB"), "", None)
    serving = ModelView("b", "abc", State.SERVING, None, "", info)
    first, second = encode_models([loading, serving], 4096).models
    assert (first.state, first.progress) == (models_pb2.MODEL_STATE_LOADING, "fetching, 1 GB")
    assert (first.progress_fraction, first.max_output_tokens) == (0.5, 4096)
    assert (second.state, second.revision) == (models_pb2.MODEL_STATE_SERVING, "abc")
    assert (second.context_length, second.max_output_tokens) == (64, 63)
    assert second.capabilities.chat
    assert not second.capabilities.fill_in_the_middle
