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
)
from tokenwire.server.engines.llama_cpp.stream import StreamReader

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
