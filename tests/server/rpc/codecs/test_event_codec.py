"""Events from the domain to protos."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from tokenwire.generated.tokenwire.v1 import events_pb2, inference_pb2
from tokenwire.server.contract.events import (
    ChoiceFinished,
    Delta,
    FinishReason,
    Prefill,
    PromptTokenLogprob,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
)
from tokenwire.server.request.answer import Answer, ChoiceAnswer
from tokenwire.server.request.calls import (
    CallFinished,
    CallStarted,
    Decoding,
    Loading,
    ProgressEvent,
    Queued,
)
from tokenwire.server.rpc.codecs.event_codec import (
    OneText,
    add_delta,
    encode_final,
    encode_finished,
    encode_progress,
    encode_started,
)

FINISHED = CallFinished(FinishReason.STOP, 5, 2, 3, 1, 0.5, 1.5, 1.0, 2.0)
STARTED = CallStarted("r", "m", "abc", 5, 2, 16, 7)
LOGPROB = TokenLogprob(9, -0.5, b"\xf0", (TopLogprob(8, -1.5, b"b"), TopLogprob(7, -2.5, b"")))
ENCODED_LOGPROB = events_pb2.TokenLogprob(
    token_id=9,
    logprob=-0.5,
    text=b"\xf0",
    top=[
        events_pb2.TokenLogprob.TopLogprob(token_id=8, logprob=-1.5, text=b"b"),
        events_pb2.TokenLogprob.TopLogprob(token_id=7, logprob=-2.5),
    ],
)


def encode_delta(delta: Delta) -> events_pb2.Delta:
    """The one piece that `add_delta` adds."""
    deltas = events_pb2.Deltas()
    add_delta(deltas, delta, with_token_ids=True)
    (added,) = deltas.deltas
    return added


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


def test_started() -> None:
    """A start tells what is in force."""
    started = encode_started(STARTED)
    assert (started.request_id, started.model, started.model_revision) == ("r", "m", "abc")
    assert (started.num_prompt_tokens, started.num_cached_prompt_tokens) == (5, 2)
    assert (started.max_tokens, started.seed) == (16, 7)


def test_what_a_start_does_not_know_is_unset() -> None:
    """Nothing stands for what is not known: zero cached tokens and the seed 0 say something."""
    unknown = encode_started(replace(STARTED, num_cached_prompt_tokens=None, seed=None))
    zero = encode_started(replace(STARTED, num_cached_prompt_tokens=0, seed=0))
    for field in ("num_cached_prompt_tokens", "seed"):
        assert (unknown.HasField(field), zero.HasField(field)) == (False, True)


@pytest.mark.parametrize(
    ("delta", "encoded"),
    [
        (
            TextDelta("a", 1, (9,), (LOGPROB,), choice=2),
            events_pb2.Delta(
                choice=2,
                text=events_pb2.TextDelta(text="a", token_ids=[9], logprobs=[ENCODED_LOGPROB]),
            ),
        ),
        (
            ReasoningDelta("a", 2, (8, 9), choice=1),
            events_pb2.Delta(
                choice=1, reasoning=events_pb2.ReasoningDelta(text="a", token_ids=[8, 9])
            ),
        ),
        (
            ToolCallDelta(1, "call", "tool", "{}", 3, choice=1),
            events_pb2.Delta(
                choice=1,
                tool_call=events_pb2.ToolCallDelta(index=1, id="call", name="tool", arguments="{}"),
            ),
        ),
    ],
)
def test_delta(delta: Delta, encoded: events_pb2.Delta) -> None:
    """A piece of a choice is told whole, under the index of its choice."""
    assert encode_delta(delta) == encoded


@pytest.mark.parametrize(
    ("matched", "field"), [("end", "stop"), (2, "stop_token_id"), (None, None)]
)
def test_what_matched(matched: str | int | None, field: str | None) -> None:
    """An end tells the stop string or the id that it is due to, an empty choice otherwise."""
    delta = encode_delta(ChoiceFinished(FinishReason.STOP, matched, choice=1))
    end = delta.finished
    assert delta.choice == 1
    assert end.WhichOneof("matched") == field
    assert field is None or getattr(end, field) == matched
    assert end.finish_reason == events_pb2.FINISH_REASON_STOP


@pytest.mark.parametrize("reason", FinishReason)
def test_every_finish_reason_has_a_value(reason: FinishReason) -> None:
    """Each reason is told by the value of its name."""
    end = encode_delta(ChoiceFinished(reason)).finished
    assert events_pb2.FinishReason.Name(end.finish_reason) == f"FINISH_REASON_{reason.name}"


def test_finished() -> None:
    """The last event tells tokens and times; times that do not exist are unset."""
    finished = encode_finished(FINISHED)
    usage = finished.usage
    assert (usage.num_prompt_tokens, usage.num_cached_prompt_tokens) == (5, 2)
    assert (usage.num_completion_tokens, usage.num_reasoning_tokens) == (3, 1)
    assert finished.timings.time_to_first_token.ToMilliseconds() == 1500
    assert finished.timings.tokens_per_second == 1
    nothing = encode_finished(replace(FINISHED, ttft_s=None, prefill_s=None))
    assert not nothing.timings.HasField("time_to_first_token")
    assert not nothing.timings.HasField("prefill")


def test_final() -> None:
    """The one message of delivery FINAL holds the start, the answers and their ends."""
    call = ToolCallDelta(0, "call", "tool", "{}")
    answers = [
        ChoiceAnswer(
            0,
            "text",
            "thought",
            [call],
            [1, 2],
            [LOGPROB],
            ChoiceFinished(FinishReason.STOP, "end"),
        ),
        ChoiceAnswer(2, finished=ChoiceFinished(FinishReason.EOS, choice=2)),
    ]
    prompt = [PromptTokenLogprob(1, None, b"a"), PromptTokenLogprob(2, -0.5, b"b")]
    final = encode_final(STARTED, Answer(answers, prompt), FINISHED, with_token_ids=True)
    assert [each.HasField("logprob") for each in final.prompt_logprobs] == [False, True]
    first, second = final.choices
    assert final.started == encode_started(STARTED)
    assert final.usage == encode_finished(FINISHED).usage
    assert (first.text, list(first.token_ids), first.finished.stop) == ("text", [1, 2], "end")
    assert (first.reasoning, list(first.logprobs)) == ("thought", [ENCODED_LOGPROB])
    assert list(first.tool_calls) == [encode_delta(call).tool_call]
    assert second == events_pb2.Choice(
        choice=2, finished=events_pb2.ChoiceFinished(finish_reason=events_pb2.FINISH_REASON_EOS)
    )


def test_text_that_is_filled_in_takes_the_place_of_the_last() -> None:
    """One message serves all streams: nothing of what it had is left in it."""
    one = OneText(inference_pb2.ChatResponse)
    for position, delta in ((7, TextDelta("long text", 1, choice=2)), (1, TextDelta("a", 1))):
        expected = events_pb2.Delta(choice=delta.choice, text=events_pb2.TextDelta(text=delta.text))
        assert one.fill(position, delta) == inference_pb2.ChatResponse(
            position=position, deltas=events_pb2.Deltas(deltas=[expected])
        )


@pytest.mark.parametrize("text", ["a piece of text", "x" * 10_000], ids=["short", "long"])
def test_text_that_is_filled_in_takes_no_memory_for_ever(text: str) -> None:
    """What a server says in a year passes through one message, which keeps none of it."""
    one, delta = OneText(inference_pb2.ChatResponse), TextDelta(text, 1)
    for position in range(1000):
        one.fill(position, delta)
    before = _resident_bytes()
    for position in range((32 << 20) // len(text)):
        one.fill(position, delta)
    assert _resident_bytes() - before < 4 << 20


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
