"""Events of llama.cpp's stream, and what they become."""

from __future__ import annotations

from typing import Any

import pytest
from tokenwire.server.contract.errors import GenerationFailed
from tokenwire.server.contract.events import (
    ChoiceFinished,
    EngineEvent,
    Finished,
    FinishReason,
    Prefill,
    Started,
    TextDelta,
    TokenLogprob,
    TopLogprob,
)
from tokenwire.server.engines.llama_cpp.output.stream import StreamReader

LAST = {"stop": True, "stop_type": "eos", "content": "", "tokens_predicted": 3}


def text(content: str, num_tokens: int) -> dict[str, Any]:
    return {"stop": False, "content": content, "tokens_predicted": num_tokens}


def read(reader: StreamReader, *events: dict[str, Any]) -> list[EngineEvent]:
    return [translated for event in events for translated in reader.read(event)]


def test_whole_stream() -> None:
    """Progress begins it, texts count their tokens, held back ones too, and the end has a sum."""
    reader = StreamReader(())
    progress = {"prompt_progress": {"cache": 2, "processed": 4, "total": 5}}
    assert read(reader, progress, text("a", 1), text("", 2), text("b", 3), LAST) == [
        Started(2),
        Prefill(4, 5),
        TextDelta("a", 1),
        TextDelta("b", 2),
        ChoiceFinished(FinishReason.EOS),
        Finished(3, 2),
    ]
    assert reader.is_finished
    assert reader.has_server_finished


def test_stop_string_ends_it_early() -> None:
    """A stop string is the end, though the server goes on."""
    reader = StreamReader(("END",))
    assert read(reader, text("a E", 2), text("ND b", 4)) == [
        Started(),
        TextDelta("a ", 2),
        ChoiceFinished(FinishReason.STOP, "END"),
        Finished(4, 0),
    ]
    assert not reader.has_server_finished


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"error": {"message": "no room in /some/where"}}, "/some/where"),
        (LAST | {"stop_type": "boredom"}, "boredom"),
    ],
)
def test_engine_text_is_for_the_log(event: dict[str, Any], words: str) -> None:
    """An error of the stream fails the request; what llama.cpp says of it is detail only."""
    with pytest.raises(GenerationFailed) as caught:
        read(StreamReader(()), event)
    assert words in caught.value.detail
    assert words not in caught.value.message


def likely(event: dict[str, Any], token_id: int, words: str) -> dict[str, Any]:
    """A piece with the log-probability of its last token."""
    tops = [{"id": top, "logprob": -1.0 - top, "bytes": [65 + top]} for top in range(3)]
    own = {"id": token_id, "logprob": -0.5, "bytes": list(words.encode()), "top_logprobs": tops}
    return event | {"completion_probabilities": [own], "tokens": [token_id]}


def logprobs_of(events: list[EngineEvent]) -> list[tuple[int, ...]]:
    return [
        tuple(logprob.token_id for logprob in event.logprobs)
        for event in events
        if isinstance(event, TextDelta)
    ]


def test_logprobs_as_many_as_asked_for() -> None:
    """The likeliest tokens are told up to the number asked for."""
    reader = StreamReader((), num_top=2)
    _, delta = read(reader, likely(text("é", 1), 7, "é"))
    top = (TopLogprob(0, -1.0, b"A"), TopLogprob(1, -2.0, b"B"))
    assert delta == TextDelta("é", 1, (), (TokenLogprob(7, -0.5, "é".encode(), top),))


def test_goes_on_behind_earlier_output() -> None:
    """What another process said comes first, behind the start, and is counted in the end."""
    reader = StreamReader(("END",), earlier=TextDelta("a E", 2, (1, 2)))
    progress = {"prompt_progress": {"cache": 0, "processed": 4, "total": 4}}
    assert read(reader, progress, text("ND b", 2)) == [
        Started(0),
        TextDelta("a ", 2, (1, 2)),
        Prefill(4, 4),
        ChoiceFinished(FinishReason.STOP, "END"),
        Finished(4, 0),
    ]


def test_ends_at_the_limit_that_was_reached_before() -> None:
    """A choice that had all its tokens before ends without a stream, with nothing held back."""
    reader = StreamReader(("END",), earlier=TextDelta("a E", 2, (1, 2)))
    assert list(reader.end_at_limit()) == [
        Started(),
        TextDelta("a ", 2, (1, 2)),
        TextDelta("E", 0),
        ChoiceFinished(FinishReason.LENGTH),
        Finished(2, 0),
    ]


@pytest.mark.parametrize(
    ("stop_type", "told"), [("eos", [(1,), (2, 3)]), ("limit", [(1,), (2, 3), (4,)])]
)
def test_end_token_has_no_logprob(stop_type: str, told: list[tuple[int, ...]]) -> None:
    """A token without text comes with the next piece; the end token, which is one, never."""
    events = read(
        StreamReader(()),
        likely(text("a", 1), 1, "a"),
        likely(text("", 2), 2, ""),
        likely(text("b", 3), 3, "b"),
        likely(text("", 4), 4, ""),
        LAST | {"stop_type": stop_type, "tokens_predicted": 4},
    )
    assert logprobs_of(events) == told


@pytest.mark.parametrize(
    ("content", "stop_text", "left"),
    [("", "<end>", ""), (" end", " end", ""), ("é end", " end", "é")],
)
def test_stop_id_ends_it_early(content: str, stop_text: str, left: str) -> None:
    """A stop token is the end, and neither its text nor its log-probability is told."""
    reader = StreamReader((), stop_texts={9: stop_text}, choice=2)
    events = read(reader, likely(text("a", 1), 1, "a"), likely(text(content, 2), 9, content))
    told = [event for event in events if isinstance(event, TextDelta)]
    assert "".join(delta.text for delta in told) == "a" + left
    assert [logprob.token_id for delta in told for logprob in delta.logprobs] == [1]
    assert events[-2:] == [ChoiceFinished(FinishReason.STOP, 9, 2), Finished(2, 0)]
    assert not reader.has_server_finished
