"""Streams of the client, whose calls are answered by hand."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from tokenwire.client import (
    Cancelled,
    ChoiceFinished,
    Event,
    Finished,
    FinishReason,
    Progress,
    PromptLogprobs,
    ReasoningDelta,
    RetryPolicy,
    ServerError,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolError,
    ToolLoopUnfinished,
    ToolResult,
    Unavailable,
)
from tokenwire.client.answer import AnswerBuilder
from tokenwire.generated.tokenwire.v1 import chat_pb2, events_pb2, inference_pb2

from .answering import GUARD_S, Answering, answering
from .answers import (
    CALLED,
    HELLO,
    Response,
    deltas,
    end,
    failing,
    finished,
    started,
    text,
    thinking,
    tool_call,
    whole,
)

SOON_S = 0.001


def test_events_are_those_of_the_stream() -> None:
    """Every kind of event comes with its values, in order."""
    with answering() as service:
        stream = service.client().chat("Hi", progress=True)
        events = service.do(lambda: list(stream))
        service.take().end(
            Response(progress=events_pb2.Progress(queued=events_pb2.Progress.Queued(place=2))),
            started(seed=7),
            deltas(thinking("hm"), text("a"), (1, text("b"))),
            deltas(*tool_call("c1", "f", '{"x":', "1}")),
            deltas(end(CALLED), (1, end(events_pb2.FINISH_REASON_STOP, stop="!"))),
            finished(),
        )
        progress, *rest = events.result(GUARD_S)
    assert isinstance(progress, Progress)
    assert progress.message.queued.place == 2
    *rest, last = rest
    assert rest == [
        Started("r1", "m", 3, 9, seed=7),
        ReasoningDelta("hm"),
        TextDelta("a"),
        TextDelta("b", choice=1),
        ToolCallDelta(0, "c1", "f"),
        ToolCallDelta(0, arguments='{"x":'),
        ToolCallDelta(0, arguments="1}"),
        ChoiceFinished(FinishReason.TOOL_CALLS),
        ChoiceFinished(FinishReason.STOP, choice=1, matched="!"),
    ]
    assert isinstance(last, Finished)
    assert (last.usage.num_completion_tokens, last.timings.ttft_s) == (2, 0.25)


def test_log_probabilities_of_the_prompt() -> None:
    """They come before the answer, in pieces, and are whole in it."""
    tokens = [events_pb2.PromptTokenLogprob(token_id=number) for number in range(3)]
    with answering() as service:
        stream = service.client().generate("Hi", prompt_logprobs=2)
        read = service.do(lambda: list(stream))
        call = service.take("Generate")
        pieces = [events_pb2.PromptLogprobs(tokens=part) for part in (tokens[:2], tokens[2:])]
        call.end(
            *(
                inference_pb2.GenerateResponse.FromString(response.SerializeToString())
                for response in whole(*pieces, text("a"), end())
            )
        )
        events = read.result(GUARD_S)
    assert call.request.sampling.prompt_logprobs == 2
    assert events[1:4] == [
        PromptLogprobs(tuple(tokens[:2])),
        PromptLogprobs(tuple(tokens[2:])),
        TextDelta("a"),
    ]
    builder = AnswerBuilder()
    for event in events:
        builder.add(event)
    assert builder.received().prompt_logprobs == tuple(tokens)
    assert builder.received().text == "a"


def test_answer_is_the_sum() -> None:
    """The whole answer has what the events had, by choice."""
    with answering() as service:
        answer = service.do(service.client().chat("Hi").answer)
        service.take().end(
            started(),
            deltas(thinking("h"), thinking("m"), (1, text("b")), text("a")),
            deltas(*tool_call("c2", "g", index=1), *tool_call("c1", "f", "{", "}")),
            deltas(end(CALLED), (1, end())),
            finished(),
        )
        whole_answer = answer.result(GUARD_S)
    first, second = whole_answer.choices
    assert (first.text, first.reasoning, first.finish_reason) == (
        "a",
        "hm",
        FinishReason.TOOL_CALLS,
    )
    assert [(call.id, call.name, call.arguments) for call in first.tool_calls] == [
        ("c1", "f", "{}"),
        ("c2", "g", ""),
    ]
    assert (second.text, second.finish_reason) == ("b", FinishReason.EOS)
    assert whole_answer.started.request_id == "r1"
    assert whole_answer.message.tool_calls[0] == chat_pb2.ToolCall(
        id="c1", name="f", arguments="{}"
    )


def test_is_read_once() -> None:
    """A stream that was read is not read again: that would be another generation."""
    with answering() as service:
        stream = service.client().chat("Hi")
        answer = service.do(stream.answer)
        service.take().end(*HELLO)
        assert answer.result(GUARD_S).text == "Hello"
        with pytest.raises(RuntimeError, match="once"):
            list(stream)


@pytest.mark.parametrize("leave", ["break", "close", "with", "error"])
def test_leaving_cancels(leave: str) -> None:
    """Whoever leaves a stream in the middle cancels its call."""

    def read(stream: Any) -> None:
        if leave == "with":
            with stream:
                next(iter(stream))
            return
        if leave == "error":
            with suppress(ZeroDivisionError), stream:
                for _ in stream:
                    raise ZeroDivisionError
            return
        for _ in stream:
            if leave == "close":
                stream.close()
            break

    with answering() as service:
        done = service.do(lambda: read(service.client().chat("Hi")))
        call = service.take()
        call.send(started())
        call.wait_cancelled()
        done.result(GUARD_S)


def test_close_from_another_thread() -> None:
    """A thread that waits for the next event gets `Cancelled`."""
    with answering() as service:
        stream = service.client().chat("Hi")
        events: list[Event] = []
        reading = service.do(lambda: [events.append(event) for event in stream])
        service.take().send(started())
        service.do(stream.close).result(GUARD_S)
        with pytest.raises(Cancelled):
            reading.result(GUARD_S)


def test_tries_again_when_the_server_says() -> None:
    """A call that was not begun is made again, with the same request, after progress, too."""
    with answering() as service:
        stream = service.client().chat("Hi", progress=True)
        events: queue.Queue[Event] = queue.Queue()
        reading = service.do(lambda: [events.put(event) for event in stream])
        first = service.take()
        first.send(Response(progress=events_pb2.Progress()))
        assert isinstance(events.get(timeout=GUARD_S), Progress)
        first.fail(failing(retry_s=SOON_S))
        second = service.take()
        assert second.request == first.request
        second.end(*HELLO)
        reading.result(GUARD_S)
        assert isinstance(events.get(timeout=GUARD_S), Started)


def fails_once(
    service: Answering, status: Any, *before: Response, **options: Any
) -> BaseException | None:
    """The failure that the reader of one call gets, which is not made again."""
    stream = service.client(**options).chat("Hi")
    seen = threading.Semaphore(0)
    reading = service.do(lambda: [seen.release() for _ in stream])
    call = service.take()
    call.send(*before)
    for _ in before:  # the channel drops what was not read when the call fails
        assert seen.acquire(timeout=GUARD_S)
    call.fail(status)
    return reading.exception(GUARD_S)


@pytest.mark.parametrize(
    ("retry_s", "before", "options"),
    [
        (SOON_S, [started()], {}),
        (SOON_S, [started(), deltas(text("a"))], {}),
        (None, [], {}),
        (31.0, [], {}),
        (SOON_S, [], {"retries": RetryPolicy(max_attempts=1)}),
        (10.0, [], {"timeout_s": 5.0}),
    ],
    ids=["started", "text", "unasked", "long", "once", "deadline"],
)
def test_does_not_try_again(
    retry_s: float | None, before: list[Response], options: dict[str, Any]
) -> None:
    """A generation that began is never repeated, nor a call beyond the bounds of the tries."""
    with answering() as service:
        error = fails_once(service, failing(retry_s=retry_s), *before, **options)
    assert isinstance(error, Unavailable)
    assert error.retry_after_s == retry_s


def test_tries_are_bounded() -> None:
    """After the last try the failure is raised."""
    with answering() as service:
        client = service.client(retries=RetryPolicy(max_attempts=3))
        answer = service.do(client.chat("Hi").answer)
        for _ in range(3):
            service.take().fail(failing(retry_s=SOON_S))
        assert isinstance(answer.exception(GUARD_S), Unavailable)


def test_close_ends_the_wait_for_a_try() -> None:
    """A stream that waits to try again ends with `close`, not with the wait."""
    with answering() as service:
        stream = service.client().chat("Hi")
        answer = service.do(stream.answer)
        start_s = time.monotonic()
        service.take().fail(failing(retry_s=29.0))
        stream.close()
        assert isinstance(answer.exception(GUARD_S), Cancelled)
        assert time.monotonic() - start_s < GUARD_S


def test_stream_without_its_end() -> None:
    """A stream that ends well without `finished` is a failure, not an answer."""
    with answering() as service:
        answer = service.do(service.client().chat("Hi").answer)
        service.take().end(started(), deltas(text("a")))
        assert isinstance(answer.exception(GUARD_S), ServerError)


def test_newer_events_are_skipped() -> None:
    """Events and deltas that this client does not know are no failure."""
    with answering() as service:
        answer = service.do(service.client().chat("Hi").answer)
        service.take().end(
            Response(position=1),
            started(),
            Response(deltas=events_pb2.Deltas(deltas=[events_pb2.Delta(choice=0)])),
            deltas(end(99)),
            finished(),
        )
        assert answer.result(GUARD_S).finish_reason is FinishReason.UNKNOWN


def weather(city: str) -> str:
    """Tells the weather of a city."""
    if city == "Atlantis":
        raise ToolError("it sank")
    return f"sunny in {city}"


def broken(city: str) -> str:
    """Fails by itself."""
    raise ZeroDivisionError(city)


def take_turn(service: Answering, *kinds: Any) -> chat_pb2.Message:
    """Answers the next call, and returns the last message of its history."""
    call = service.take()
    call.end(*whole(*kinds))
    last: chat_pb2.Message = call.request.messages[-1]
    return last


def test_loop_until_the_model_is_done() -> None:
    """Calls are made and told to the model, all of a turn, until it calls no more."""
    with answering() as service:
        loop = service.client().run("Weather?", tools=[weather], temperature=0)
        events = service.do(lambda: list(loop))
        call = service.take()
        assert [tool.name for tool in call.request.tools] == ["weather"]
        assert call.request.sampling.HasField("temperature")
        call.end(
            *whole(
                *tool_call("c1", "weather", '{"city": ', '"Oslo"}'),
                *tool_call("c2", "weather", '{"city": "Atlantis"}', index=1),
                end(CALLED),
            )
        )
        last = service.take()
        last.end(*whole(text("Sunny."), end()))
        results = [event for event in events.result(GUARD_S) if isinstance(event, ToolResult)]
    user, asked, first, second = last.request.messages
    assert user.content[0].text == "Weather?"
    assert [each.id for each in asked.tool_calls] == ["c1", "c2"]
    assert (first.role, first.tool_call_id) == (chat_pb2.ROLE_TOOL, "c1")
    assert first.content[0].text == "sunny in Oslo"
    assert second.content[0].text == '{"error": "it sank"}'
    assert [(result.id, result.content) for result in results] == [
        ("c1", "sunny in Oslo"),
        ("c2", '{"error": "it sank"}'),
    ]
    assert loop.messages[-1].content[0].text == "Sunny."


def test_demand_holds_for_the_first_turn() -> None:
    """A call that is demanded is demanded once: the loop could not end otherwise."""
    with answering() as service:
        loop = service.client().run("?", tools=[weather], tool_choice=weather, temperature=0)
        answer = service.do(loop.answer)
        first = service.take()
        first.end(*whole(*tool_call("c", "weather", '{"city": "x"}'), end(CALLED)))
        second = service.take()
        second.end(*whole(text("Sunny."), end()))
        assert answer.result(GUARD_S).text == "Sunny."
    assert first.request.tool_choice.name == "weather"
    assert not second.request.HasField("tool_choice")
    assert second.request.sampling.HasField("temperature")


def test_loop_is_bounded() -> None:
    """A model that never stops calling ends the loop."""
    with answering() as service:
        loop = service.client().run("?", tools=[weather], max_turns=2)
        answer = service.do(loop.answer)
        for _ in range(2):
            take_turn(service, *tool_call("c", "weather", '{"city": "x"}'), end(CALLED))
        assert isinstance(answer.exception(GUARD_S), ToolLoopUnfinished)


def test_failure_of_a_function_is_the_callers() -> None:
    """An exception of a function reaches whoever runs the loop, and not the model."""
    with answering() as service:
        answer = service.do(service.client().run("?", tools=[broken]).answer)
        take_turn(service, *tool_call("c", "broken", '{"city": "x"}'), end(CALLED))
        assert isinstance(answer.exception(GUARD_S), ZeroDivisionError)


def test_leaving_a_loop_cancels_its_turn() -> None:
    """A loop that is left in a turn cancels that call, and makes no other."""

    def leave(loop: Any) -> None:
        with loop:
            for event in loop:
                if isinstance(event, TextDelta):
                    break

    with answering() as service:
        done = service.do(lambda: leave(service.client().run("?", tools=[weather])))
        call = service.take()
        call.send(started(), deltas(text("a")))
        call.wait_cancelled()
        done.result(GUARD_S)
