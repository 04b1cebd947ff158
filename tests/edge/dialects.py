"""One question in each dialect of the edge, and what its answers come to, streamed or not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from google.protobuf import json_format
from tokenwire.generated.tokenwire.v1 import inference_pb2

from ..server.rpc.test_sender_events import deltas_of, joined

Json = dict[str, Any]


@dataclass
class Said:
    """What one choice comes to. Calls are id, name and arguments; logprobs as their dialect has."""

    text: str = ""
    thinking: str = ""
    calls: list[list[str]] = field(default_factory=list[list[str]])
    logprobs: list[Any] = field(default_factory=list[Any])
    reason: str | None = None
    rest: Any = None


@dataclass(frozen=True)
class Dialect:
    """Where to ask for a stream and for a whole answer, and how to read either.

    `question` makes of a text what is asked, beside the model and the values of sampling, which
    are inside `sampling` or beside it; `logprobs` says how log-probabilities are asked for.
    """

    stream: str
    whole: str
    question: Callable[[str], Json]
    of_stream: Callable[[list[Any]], dict[int, Said]]
    of_whole: Callable[[Any], dict[int, Said]]
    when_streamed: Json = field(default_factory=dict[str, Any])
    when_whole: Json = field(default_factory=dict[str, Any])
    has_choices: bool = True
    logprobs: Callable[[int], Json] | None = None
    in_sampling: bool = False


async def ask_stream(http: aiohttp.ClientSession, path: str, body: Json) -> list[Any]:
    """Posts a body, and returns the data of all events, heartbeats left out."""
    async with http.post(path, json=body) as response:
        transcript = await response.text()
        assert response.status == 200, transcript
    lines = [line for line in transcript.split("\n") if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in lines)
    data = [line.removeprefix("data: ") for line in lines]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


async def ask_whole(http: aiohttp.ClientSession, path: str, body: Json) -> Any:
    """Posts a body, and returns the answer."""
    async with http.post(path, json=body) as response:
        assert response.status == 200, await response.text()
        return await response.json()


def _messages(text: str) -> Json:
    return {"messages": [{"role": "user", "content": text}]}


def _prompt(text: str) -> Json:
    return {"prompt": text}


# OpenAI's.


def _chunks(events: list[Any]) -> tuple[list[Any], Json]:
    """Returns the choices of all chunks in order, and the usage that the last one has."""
    *chunks, last, done = events
    assert done == "[DONE]"
    assert last["choices"] == []
    return [choice for chunk in chunks for choice in chunk["choices"]], last["usage"]


def _chat_of_stream(events: list[Any]) -> dict[int, Said]:
    choices, usage = _chunks(events)
    told: dict[int, Said] = {}
    for choice in choices:
        said = told.setdefault(choice["index"], Said(rest=usage))
        delta = choice["delta"]
        said.text += delta.get("content") or ""
        said.thinking += delta.get("reasoning_content") or ""
        for call in delta.get("tool_calls", ()):
            if call["index"] == len(said.calls):
                said.calls.append([call["id"], call["function"]["name"], ""])
            said.calls[call["index"]][2] += call["function"]["arguments"]
        said.logprobs += (choice["logprobs"] or {"content": []})["content"]
        said.reason = choice["finish_reason"] or said.reason
    return told


def _chat_of_whole(answer: Any) -> dict[int, Said]:
    return {
        choice["index"]: Said(
            choice["message"]["content"] or "",
            choice["message"].get("reasoning_content") or "",
            [
                [call["id"], call["function"]["name"], call["function"]["arguments"]]
                for call in choice["message"].get("tool_calls") or ()
            ],
            (choice["logprobs"] or {"content": []})["content"],
            choice["finish_reason"],
            answer["usage"],
        )
        for choice in answer["choices"]
    }


def _rows(lists: Json | None) -> list[Any]:
    """Returns the four lists of a completion's log-probabilities as one."""
    if lists is None:
        return []
    names = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
    return list(map(list, zip(*(lists[name] for name in names), strict=True)))


def _completion_of_stream(events: list[Any]) -> dict[int, Said]:
    choices, usage = _chunks(events)
    told: dict[int, Said] = {}
    for choice in choices:
        said = told.setdefault(choice["index"], Said(rest=usage))
        said.text += choice["text"]
        said.logprobs += _rows(choice["logprobs"])
        said.reason = choice["finish_reason"] or said.reason
    return told


def _completion_of_whole(answer: Any) -> dict[int, Said]:
    return {
        choice["index"]: Said(
            choice["text"],
            logprobs=_rows(choice["logprobs"]),
            reason=choice["finish_reason"],
            rest=answer["usage"],
        )
        for choice in answer["choices"]
    }


# Of `/api`.


def _text_of_stream(name: str) -> Callable[[list[Any]], dict[int, Said]]:
    def read(events: list[Any]) -> dict[int, Said]:
        *pieces, end = events
        assert end["done"] is True
        assert not any(piece.get("done") for piece in pieces)
        return {0: _text("".join(piece[name] for piece in pieces), end)}

    return read


def _text_of_whole(text_of: Callable[[Any], str]) -> Callable[[Any], dict[int, Said]]:
    return lambda answer: {0: _text(text_of(answer), answer)}


def _text(text: str, end: Any) -> Said:
    return Said(text, reason=end["finish_reason"], rest=(end["tokens_generated"], end["model"]))


# The service's own.


def _own_of_stream(events: list[Any]) -> dict[int, Said]:
    responses = [
        json_format.ParseDict(event, inference_pb2.ChatResponse()) for event in events if event
    ]
    usage = responses[-1].finished.usage
    return _own(joined(deltas_of(responses)), usage)


def _own_of_whole(answer: Any) -> dict[int, Said]:
    finished = json_format.ParseDict(answer, inference_pb2.ChatResponse()).finished
    return _own(finished.choices, finished.usage)


def _own(choices: Iterable[Any], usage: Any) -> dict[int, Said]:
    return {
        choice.choice: Said(
            choice.text,
            choice.reasoning,
            [[call.id, call.name, call.arguments] for call in choice.tool_calls],
            list(choice.logprobs),
            str(choice.finished),
            str(usage),
        )
        for choice in choices
    }


def _own_dialect(path: str, question: Callable[[str], Json]) -> Dialect:
    return Dialect(
        *(path, path, question, _own_of_stream, _own_of_whole),
        when_whole={"delivery": "DELIVERY_FINAL"},
        logprobs=lambda num_top: {"logprobs": num_top},
        in_sampling=True,
    )


def _api_dialect(name: str, question: Callable[[str], Json], piece: str, text_of: Any) -> Dialect:
    return Dialect(
        f"/api/{name}/stream",
        f"/api/{name}",
        question,
        _text_of_stream(piece),
        _text_of_whole(text_of),
        has_choices=False,
    )


_STREAM = {"stream": True, "stream_options": {"include_usage": True}}

DIALECTS = {
    "openai chat": Dialect(
        *("/v1/chat/completions", "/v1/chat/completions"),
        *(_messages, _chat_of_stream, _chat_of_whole),
        when_streamed=_STREAM,
        logprobs=lambda num_top: {"logprobs": True, "top_logprobs": num_top},
    ),
    "openai completions": Dialect(
        *("/v1/completions", "/v1/completions"),
        *(_prompt, _completion_of_stream, _completion_of_whole),
        when_streamed=_STREAM,
        logprobs=lambda num_top: {"logprobs": num_top},
    ),
    "api chat": _api_dialect(
        "chat", _messages, "content", lambda answer: answer["message"]["content"]
    ),
    "api generate": _api_dialect("generate", _prompt, "text", lambda answer: answer["text"]),
    "api completions": _api_dialect("completions", _prompt, "text", lambda answer: answer["text"]),
    "api completions in openai's form": Dialect(
        *("/api/completions", "/api/completions"),
        *(_prompt, _completion_of_stream, _completion_of_whole),
        when_streamed=_STREAM,
        has_choices=False,
    ),
    "tokenwire chat": _own_dialect(
        "/tokenwire/v1/chat",
        lambda text: {"messages": [{"role": "ROLE_USER", "content": [{"text": text}]}]},
    ),
    "tokenwire generate": _own_dialect("/tokenwire/v1/generate", lambda text: {"text": text}),
}
