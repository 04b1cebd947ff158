"""The spans of a request, from what is known of it at its end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenwire.generated.tokenwire.v1 import inference_pb2
from tokenwire.server.contract.events import FinishReason
from tokenwire.server.request.calls import (
    CallAborted,
    CallContext,
    CallFinished,
    CallOutcome,
    CallStarted,
)
from tokenwire.server.request.clock import Pause, Timeline
from tokenwire.server.request.ended_request import EndedRequest
from tokenwire.server.rpc.codecs.request_codec import decode_chat, decode_generate
from tokenwire.server.telemetry.spans import RequestSpans
from tokenwire.tracing.settings import TracingSettings
from tokenwire.tracing.trace_context import TraceContext
from tokenwire.tracing.tracer import Tracer

from ...otlp_sink import OtlpSink, start_sink

CALLER = TraceContext.read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
CONTEXT = CallContext("call-1", trace=CALLER, key="key-name")
FINISHED = CallFinished(FinishReason.EOS, 4, 2, 3, 1, 0.5, 1.5, 0.5, 2.0)
STARTED = CallStarted("call-1", "m", "r1", 4, 2, 9, 7)
TIMELINE = Timeline(
    arrived_s=10.0,
    render_began_s=10.0,
    rendered_s=10.5,
    queued_s=10.5,
    admitted_s=11.0,
    first_token_s=11.5,
    last_token_s=13.5,
    ended_s=14.0,
)


def ended(outcome: CallOutcome = FINISHED, timeline: Timeline = TIMELINE) -> EndedRequest:
    """A Generate with sampling of its own, at its end."""
    request = inference_pb2.GenerateRequest(model="m", text="canary-prompt")
    request.sampling.temperature = 0.5
    request.sampling.top_k = 40
    request.sampling.stop.append("canary-stop")
    return EndedRequest(decode_generate(request, CONTEXT), outcome, timeline, 4, STARTED, 3)


async def traced(request: EndedRequest) -> OtlpSink:
    """What a collector gets of a request."""
    async with start_sink() as sink:
        settings = TracingSettings.model_validate(sink.variables)
        async with Tracer(settings, "service", "front") as tracer:
            RequestSpans(tracer).record(request)
        return sink


async def test_numbers_of_a_request_that_finished() -> None:
    """The span has what was asked for and what came of it, and no text of either."""
    sink = await traced(ended())
    assert b"canary" not in sink.raw
    span = sink.one("text_completion m")
    assert span.parent_id == CALLER.span_id
    assert span.attributes == {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "tokenwire",
        "gen_ai.request.model": "m",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_k": 40,
        "gen_ai.request.seed": 7,
        "gen_ai.response.id": "call-1",
        "gen_ai.response.model": "m",
        "gen_ai.response.finish_reasons": ["eos"],
        "gen_ai.response.time_to_first_chunk": 1.5,
        "gen_ai.usage.input_tokens": 4,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 2,
        "gen_ai.usage.reasoning.output_tokens": 1,
        "tokenwire.key": "key-name",
        "tokenwire.outcome": "finished",
    }


async def test_steps_have_the_times_that_they_took() -> None:
    """Begin and length of each step are those of the timeline, with its numbers."""
    sink = await traced(ended())
    start_ns = sink.one("text_completion m").start_ns
    steps = {
        span.name: ((span.start_ns - start_ns) / 1e9, (span.end_ns - span.start_ns) / 1e9)
        for span in sink.spans
    }
    assert steps == {
        "render": (0, 0.5),
        "queue": (0.5, 0.5),
        "prefill": (1.0, 0.5),
        "decode": (1.5, 2.0),
        "text_completion m": (0, 4.0),
    }
    assert sink.one("render").attributes == {"gen_ai.usage.input_tokens": 4}
    assert sink.one("queue").attributes == {}
    assert sink.one("prefill").attributes == {
        "gen_ai.usage.input_tokens": 4,
        "gen_ai.usage.cache_read.input_tokens": 2,
    }
    assert sink.one("decode").attributes == {
        "gen_ai.usage.output_tokens": 3,
        "tokenwire.tokens_per_second": 1.0,
    }


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        (("first_token_s", "last_token_s"), {"render": 0.5, "queue": 0.5, "prefill": 3.0}),
        (
            ("admitted_s", "first_token_s", "last_token_s"),
            {"render": 0.5, "queue": 3.5},
        ),
        (
            ("rendered_s", "queued_s", "admitted_s", "first_token_s", "last_token_s"),
            {"render": 4.0},
        ),
    ],
)
async def test_the_step_that_was_cut_ends_with_the_request(
    missing: tuple[str, ...], left: dict[str, float]
) -> None:
    """What a caller did not wait for has no span, and what he left has no error."""
    timeline = replace(TIMELINE, **dict.fromkeys(missing))
    sink = await traced(ended(CallAborted(), timeline))
    lengths = {span.name: (span.end_ns - span.start_ns) / 1e9 for span in sink.spans}
    assert lengths == {**left, "text_completion m": 4.0}
    assert {span.status for span in sink.spans} == {""}


async def test_a_model_that_is_loaded_is_waited_for_first() -> None:
    """The wait comes before the rendering, and the engine's part behind both."""
    timeline = replace(
        TIMELINE, queued_s=10.0, admitted_s=10.5, render_began_s=10.5, rendered_s=11.0
    )
    sink = await traced(ended(timeline=timeline))
    steps = sorted(sink.spans, key=lambda span: (span.start_ns, span.end_ns))
    assert [span.name for span in steps] == [
        "queue",
        "text_completion m",
        "render",
        "prefill",
        "decode",
    ]


async def test_an_answer_without_tokens_has_no_engine_in_it() -> None:
    """max_tokens 0 is rendered, and nothing more."""
    timeline = replace(TIMELINE, queued_s=None, first_token_s=None, last_token_s=None)
    request = replace(ended(timeline=timeline), started=replace(STARTED, max_tokens=0))
    sink = await traced(request)
    assert {span.name for span in sink.spans} == {"render", "text_completion m"}


async def test_a_conversation_is_a_chat() -> None:
    """The operation is the one of the call."""
    message = inference_pb2.ChatRequest(model="m")
    message.messages.add(role=1).content.add(text="canary")
    sink = await traced(replace(ended(), call=decode_chat(message, CONTEXT)))
    assert sink.one("chat m").attributes["gen_ai.operation.name"] == "chat"
    assert b"canary" not in sink.raw


async def test_a_prompt_that_is_scored_is_read() -> None:
    """max_tokens 0 with `prompt_logprobs` has the engine read the prompt, and nothing more."""
    timeline = replace(TIMELINE, first_token_s=None, last_token_s=None)
    request = ended(timeline=timeline)
    sampling = replace(request.call.sampling, prompt_logprobs=1)
    request = replace(
        request,
        started=replace(STARTED, max_tokens=0),
        call=replace(request.call, sampling=sampling),
    )
    sink = await traced(request)
    assert sorted(span.name for span in sink.spans) == [
        "prefill",
        "queue",
        "render",
        "text_completion m",
    ]


async def test_what_the_caller_does_not_record_makes_nothing() -> None:
    """A request below an unsampled call has no spans."""
    unsampled = replace(CONTEXT, trace=TraceContext.read(CALLER.traceparent[:-2] + "00"))
    request = ended()
    sink = await traced(replace(request, call=replace(request.call, context=unsampled)))
    assert sink.spans == []


async def test_lost_engines_are_events() -> None:
    """A death is an event of the request's span, and so is that another engine went on."""
    sink = await traced(replace(ended(), pauses=(Pause(12.0, 12.5), Pause(13.0))))
    assert sink.raw.count(b"tokenwire.engine_lost") == 2
    assert sink.raw.count(b"tokenwire.continued") == 1
    assert sink.raw.count(b"tokenwire.pause_s") == 1
