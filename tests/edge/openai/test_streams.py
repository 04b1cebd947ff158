"""OpenAI's events."""

from __future__ import annotations

from typing import Any

import pytest
from tokenwire.edge.errors import EdgeError, failure_of
from tokenwire.edge.openai.chat_codec import decode_chat
from tokenwire.edge.openai.completions_codec import decode_completions
from tokenwire.edge.openai.json_codec import AnswerHead
from tokenwire.edge.openai.streams import ChatStream, CompletionStream
from tokenwire.generated.tokenwire.v1 import events_pb2, inference_pb2

from ..scripted import MODEL, ended, started, text
from ..sse_reading import parse_events

REQUEST = inference_pb2.GenerateRequest()
CHAT = inference_pb2.ChatRequest()
BODY: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
HEAD = {
    "id": "cmpl-r1",
    "object": "text_completion",
    "created": 7,
    "model": MODEL,
    "system_fingerprint": None,
}
CHAT_HEAD = {
    "id": "chatcmpl-r1",
    "object": "chat.completion.chunk",
    "created": 7,
    "model": MODEL,
    "service_tier": "default",
    "system_fingerprint": None,
}
DRAINING = failure_of(EdgeError("DRAINING", "the server is draining"))
TOKEN = events_pb2.TokenLogprob(text=b"a", logprob=-1)


def choice(said: str, reason: str | None = None, index: int = 0) -> dict[str, Any]:
    """Returns the choice that an event of a completion holds."""
    return {"text": said, "index": index, "finish_reason": reason, "logprobs": None}


def delta(**kind: Any) -> inference_pb2.ChatResponse:
    """Returns an event of a chat with one delta."""
    deltas = events_pb2.Deltas(deltas=[events_pb2.Delta(**kind)])
    return inference_pb2.ChatResponse(deltas=deltas)


def chat(*events: Any, **fields: Any) -> list[Any]:
    """Returns what a chat with these fields tells of some events."""
    stream = ChatStream(
        AnswerHead.of_chat("r1", 7), decode_chat({**BODY, "stream": True, **fields})
    )
    return parse_events(b"".join(stream.encode(event) for event in events).decode())


def pieces(*events: Any, **fields: Any) -> list[Any]:
    """Returns the choices of what a chat tells of some events."""
    return [chunk["choices"][0] for chunk in chat(*events, **fields)]


@pytest.mark.parametrize("includes_usage", [False, True])
def test_a_completion_is_chunks_and_done(includes_usage: bool) -> None:
    """A chunk for every text, one that tells the end, on request one with usage, and `[DONE]`."""
    stream = CompletionStream(AnswerHead.of_completion("r1", 7), includes_usage=includes_usage)
    events = (
        started(REQUEST),
        text(REQUEST, "a", "", "b"),
        *ended(REQUEST, events_pb2.FINISH_REASON_LENGTH),
    )
    sent = parse_events(b"".join(stream.encode(event) for event in events).decode())
    *chunks, done = sent
    assert done == "[DONE]"
    head = {**HEAD, "usage": None} if includes_usage else HEAD
    assert chunks[:3] == [
        {**head, "choices": [choice("a")]},
        {**head, "choices": [choice("b")]},
        {**head, "choices": [choice("", "length")]},
    ]
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert chunks[3:] == ([{**HEAD, "choices": [], "usage": usage}] if includes_usage else [])


def test_echoes_come_first() -> None:
    """Each choice begins with its prompt."""
    asked = decode_completions({"model": MODEL, "prompt": ["x", "y"], "n": 2, "echo": True})
    stream = CompletionStream.of(AnswerHead.of_completion("r1", 7), asked, ["x", "y"])
    chunks = parse_events(stream.encode(started(REQUEST)).decode())
    assert [chunk["choices"] for chunk in chunks] == [
        [choice(text, index=index)] for index, text in enumerate(("x", "x", "y", "y"))
    ]


def test_echoes_come_with_the_logprobs_of_their_prompts() -> None:
    """Once those are all there, for each choice; offsets of the answer go on behind them."""
    body = {"model": MODEL, "prompt": ["x", "yy"], "n": 2, "echo": True, "logprobs": 0}
    stream = CompletionStream.of(
        AnswerHead.of_completion("r1", 7), decode_completions(body), ["x", "yy"]
    )
    assert stream.encode(started(REQUEST)) == b""
    told: list[Any] = []
    pieces = [
        (2, {"prompt_logprobs": scored("y")}),
        (0, {"prompt_logprobs": scored("x")}),
        (2, {"prompt_logprobs": scored("y")}),
        (3, {"text": events_pb2.TextDelta(text="a", logprobs=[TOKEN])}),
        (1, {"finished": events_pb2.ChoiceFinished(finish_reason="FINISH_REASON_EOS")}),
        (2, {"text": events_pb2.TextDelta(text="a", logprobs=[TOKEN])}),
    ]
    for index, kind in pieces:
        deltas = events_pb2.Deltas(deltas=[events_pb2.Delta(choice=index, **kind)])
        event = inference_pb2.GenerateResponse(deltas=deltas)
        for chunk in parse_events(stream.encode(event).decode()):
            (one,) = chunk["choices"]
            lists = one["logprobs"] or {"tokens": None, "text_offset": None}
            told.append((one["index"], one["text"], lists["tokens"], lists["text_offset"]))
    assert told == [
        (2, "yy", ["y", "y"], [0, 1]),
        (3, "yy", ["y", "y"], [0, 1]),
        (3, "a", ["a"], [2]),
        (0, "x", ["x"], [0]),
        (1, "x", ["x"], [0]),
        (1, "", [""], [1]),
        (2, "a", ["a"], [2]),
    ]


def test_an_echo_comes_without_logprobs_of_its_prompt() -> None:
    """An answer that ended before they were there has all else of it."""
    body = {"model": MODEL, "prompt": "x", "echo": True, "logprobs": 0}
    asked = decode_completions(body)
    stream = CompletionStream.of(AnswerHead.of_completion("r1", 7), asked, ["x"])
    (end, *_) = ended(REQUEST)
    assert stream.encode(started(REQUEST)) == b""
    echo, last = parse_events(stream.encode(end).decode())
    assert (echo["choices"][0]["text"], last["choices"][0]["text"]) == ("x", "")
    assert echo["choices"][0]["logprobs"]["tokens"] == []


def scored(word: str) -> events_pb2.PromptLogprobs:
    """Returns one token of a prompt."""
    token = events_pb2.PromptTokenLogprob(text=word.encode(), logprob=-1)
    return events_pb2.PromptLogprobs(tokens=[token])


def test_offsets_of_logprobs_go_on_for_each_choice() -> None:
    """A token without text of its own is told, too."""
    stream = CompletionStream(AnswerHead.of_completion("r1", 7), includes_usage=False)
    stream.encode(started(REQUEST))
    offsets = []
    for index, said in ((0, "a"), (1, "a"), (0, "")):
        piece = events_pb2.Delta(
            choice=index, text=events_pb2.TextDelta(text=said, logprobs=[TOKEN])
        )
        event = inference_pb2.GenerateResponse(deltas=events_pb2.Deltas(deltas=[piece]))
        (chunk,) = parse_events(stream.encode(event).decode())
        offsets.append((index, chunk["choices"][0]["logprobs"]["text_offset"]))
    assert offsets == [(0, [0]), (1, [0]), (0, [1])]


def test_a_chat_begins_with_its_role() -> None:
    """For every choice, with empty content to append to."""
    first = {"role": "assistant", "content": "", "refusal": None}
    assert chat(started(CHAT), n=2) == [
        {
            **CHAT_HEAD,
            "choices": [{"index": index, "delta": first, "logprobs": None, "finish_reason": None}],
        }
        for index in (0, 1)
    ]


def test_text_thinking_and_end_are_pieces() -> None:
    """Each in its own field; what is empty is not told."""
    told = pieces(
        delta(reasoning=events_pb2.ReasoningDelta(text="hm")),
        delta(reasoning=events_pb2.ReasoningDelta()),
        delta(choice=1, text=events_pb2.TextDelta(text="a")),
        delta(text=events_pb2.TextDelta()),
        delta(finished=events_pb2.ChoiceFinished(finish_reason=events_pb2.FINISH_REASON_STOP)),
    )
    assert [(piece["index"], piece["delta"], piece["finish_reason"]) for piece in told] == [
        (0, {"reasoning_content": "hm"}, None),
        (1, {"content": "a"}, None),
        (0, {}, "stop"),
    ]


def test_logprobs_stand_beside_their_text() -> None:
    """Also where a token has no whole character yet."""
    (piece,) = pieces(delta(text=events_pb2.TextDelta(logprobs=[TOKEN])), logprobs=True)
    assert piece["delta"] == {"content": ""}
    assert piece["logprobs"]["content"][0]["token"] == "a"


@pytest.mark.parametrize("has_one_call", [False, True])
def test_calls_are_told_in_parts(has_one_call: bool) -> None:
    """Id, type and name with the first part alone; `parallel_tool_calls` false: the first call."""
    calls = [
        {"index": 0, "id": "c0", "name": "f"},
        {"index": 0, "arguments": '{"a"'},
        {"index": 0, "arguments": ":1}"},
        {"index": 1, "id": "c1", "name": "g", "arguments": "{}"},
    ]
    end = events_pb2.ChoiceFinished(finish_reason=events_pb2.FINISH_REASON_TOOL_CALLS)
    *told, last = pieces(
        *(delta(tool_call=events_pb2.ToolCallDelta(**call)) for call in calls),
        delta(finished=end),
        parallel_tool_calls=not has_one_call,
    )
    first = [
        {"index": 0, "id": "c0", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"a"'}},
        {"index": 0, "function": {"arguments": ":1}"}},
    ]
    second = [
        {"index": 1, "id": "c1", "type": "function", "function": {"name": "g", "arguments": "{}"}}
    ]
    assert [call for piece in told for call in piece["delta"]["tool_calls"]] == (
        first if has_one_call else first + second
    )
    assert last["finish_reason"] == "tool_calls"


def test_usage_of_a_chat_comes_last() -> None:
    """In a chunk without choices; before it every chunk says that it has none."""
    fields = {"stream_options": {"include_usage": True}}
    first, end, usage, done = chat(started(CHAT), *ended(CHAT), **fields)
    assert (first["usage"], end["usage"], done) == (None, None, "[DONE]")
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 5
    assert usage["usage"]["completion_tokens_details"] == {"reasoning_tokens": 0}
    assert "usage" not in chat(started(CHAT))[0]


def test_a_heartbeat_is_a_chunk_that_says_nothing() -> None:
    """Also before the engine has started; it has a choice, as many programs read the first one."""
    chats = ChatStream(AnswerHead.of_chat("r1", 7), decode_chat(BODY))
    nothing = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}
    assert parse_events(chats.heartbeat().decode()) == [{**CHAT_HEAD, "choices": [nothing]}]
    asked = decode_completions({"model": MODEL, "prompt": "x"})
    stream = CompletionStream.of(AnswerHead.of_completion("r1", 7), asked, [""])
    assert parse_events(stream.heartbeat().decode()) == [{**HEAD, "choices": [choice("")]}]


@pytest.mark.parametrize(
    "stream",
    [
        CompletionStream(AnswerHead.of_completion("r1", 7), includes_usage=True),
        ChatStream(AnswerHead.of_chat("r1", 7), decode_chat(BODY)),
    ],
)
def test_a_failure_is_an_error_object(stream: Any) -> None:
    """OpenAI's clients raise an event with `error`; no `[DONE]` follows."""
    error = {
        "message": "the server is draining",
        "type": "server_error",
        "param": None,
        "code": "draining",
    }
    assert parse_events(stream.encode_failure(DRAINING).decode()) == [{"error": error}]
